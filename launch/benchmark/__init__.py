"""What is fast and what is not, measured here and now: `python -m launch.benchmark`."""
