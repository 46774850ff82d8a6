"""What a trained network predicts, scores and shows."""
