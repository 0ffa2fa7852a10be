"""Speech encoders: waveform to frames of features. They know nothing of files.

A new family is one module here (a frozen config and the encoder) and one line in `registry.py`. Where it has pretrained
weights, it also is one table in `weights/huggingface/` (settings of config.json, names of tensors) and one line in the
registry beside it.
"""

import importlib
from typing import Any

# Public names and the files that hold them, imported when asked for.
_FILES = {
    "Compact": "compact",
    "CompactConfig": "compact",
    "Architecture": "encoder",
    "Encoder": "encoder",
    "Qwen3Omni": "qwen3_omni",
    "Qwen3OmniConfig": "qwen3_omni",
    "ENCODERS": "registry",
    "make_encoder": "registry",
    "Wav2Vec2": "wav2vec2",
    "Wav2Vec2Config": "wav2vec2",
    "Whisper": "whisper",
    "WhisperConfig": "whisper",
}

__all__ = [*_FILES]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILES[name]}"), name)
