"""The method, and what surrounds it in a run."""
