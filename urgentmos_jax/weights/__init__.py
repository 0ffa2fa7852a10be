"""Between files and modules: checkpoints, model folders, the hub.

`urgent_mos.py` renames the authors' checkpoint, `huggingface/` pretrained encoders, one table a family.
"""

import importlib
from typing import Any

# Public names and the files that hold them, imported when asked for.
_FILES = {
    "cache_folder": "cache",
    "find_model": "cache",
    "find_config": "encoder_folder",
    "load_encoder": "encoder_folder",
    "read_config": "encoder_folder",
    "ModelNotFound": "hub",
    "find_folder": "hub",
    "ModelFolderError": "model_folder",
    "is_model_folder": "model_folder",
    "load_folder": "model_folder",
    "save_folder": "model_folder",
    "PUBLISHED_ENCODERS": "published",
    "Rule": "rules",
    "WeightsError": "rules",
    "assemble": "rules",
    "fill": "rules",
    "flat_state": "rules",
    "DamagedFile": "safetensors",
    "read_safetensors": "safetensors",
    "UnsafeCheckpoint": "torch_zip",
    "read_torch_file": "torch_zip",
    "Checkpoint": "urgent_mos",
    "checkpoint_rules": "urgent_mos",
    "read_checkpoint": "urgent_mos",
}

__all__ = [*_FILES]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
