"""Training: configuration, sharding, the step, checkpoints, the loop."""
