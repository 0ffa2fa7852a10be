"""Between files and modules: checkpoints, model folders, the hub."""
