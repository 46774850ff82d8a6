"""Speed and accuracy, measured: `python -m benchmarks.NAME`; results in README.md here."""
