"""Where samples come from. Knows nothing of networks or training."""
