"""Training, scoring and reporting."""
