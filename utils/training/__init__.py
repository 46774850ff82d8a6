"""Training: the method, and everything a run needs."""
