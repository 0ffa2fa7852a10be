"""From nothing to a trained model in a few minutes: `python -m launch.demo`."""
