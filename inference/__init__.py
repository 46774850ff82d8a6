"""A trained network at work: predictions, scores, pictures, the report."""
