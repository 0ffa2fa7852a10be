"""The paper's claim on real listeners: `python -m launch.supervision`."""
