"""Measurements: `python -m benchmarks speed|ablation|survival`; results in README.md here."""
