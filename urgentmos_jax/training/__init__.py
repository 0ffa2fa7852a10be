"""Training: a run, from its config to its model folder.

`config` and `start` say what a run is and what it starts from, `datasets` what it learns from; `trainer` is the loop
and `step` one update. `mesh` makes the mesh of devices, `sharding` places arrays on it, `topology` joins several hosts.
"""

import importlib
from typing import Any

# Public names and the files that hold them, imported when asked for.
_FILES = {
    "CheckpointError": "checkpoints",
    "Checkpoints": "checkpoints",
    "ConfigError": "config",
    "HostLost": "topology",
    "Interrupted": "interruption",
    "MeshConfig": "mesh",
    "NonFiniteLoss": "trainer",
    "OutOfMemory": "memory",
    "STOPPED": "trainer",
    "TooManyBadItems": "skipped",
    "TrainConfig": "config",
    "Trainer": "trainer",
    "describe_run": "dry_run",
    "read_config": "config",
    "show_log": "logs",
}

__all__ = [*_FILES]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
