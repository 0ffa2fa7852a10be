"""Batches of training.

`training_set` reads manifests, `plan` says what each batch holds (a pure function of config, seed and step), `partners`
who is compared with whom, `batching` what arrays a batch is; `reading` fills them, from audio or from the
`feature_cache`, and `loader` does so ahead of their use.
"""

import importlib
from typing import Any

# Public names and the files that hold them, imported when asked for.
_FILES = {
    "BatchArrays": "batching",
    "BatchReader": "reading",
    "DamagedStates": "feature_cache",
    "DataWorkerLost": "loader",
    "FeatureCacheError": "feature_cache",
    "LoadedBatch": "batching",
    "LoadedBatches": "loader",
    "Plan": "plan",
    "StoredStates": "feature_cache",
    "TrainingSet": "training_set",
    "find_source": "training_set",
    "read_training_set": "training_set",
}

__all__ = [*_FILES]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
