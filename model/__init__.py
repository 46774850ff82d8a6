"""The network. Knows nothing of data or training."""
