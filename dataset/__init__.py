"""Data sets, from image files to batches. Imports nothing from model/ or from training."""
