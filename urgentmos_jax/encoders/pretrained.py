"""Pretrained encoders from a Hugging Face folder or hub id, without torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
from flax import nnx
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from urgentmos_jax.encoders import ENCODERS
from urgentmos_jax.encoders.weights import WeightsError, assemble, fill, flat_state
from urgentmos_jax.safetensors_file import read_safetensors
from urgentmos_jax.torch_file import read_torch_file

__all__ = ["ModelNotFound", "abstract_encoder", "find_folder", "load_encoder", "read_config", "strip_prefix"]

_FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json")
_TORCH_FILES = ("pytorch_model*.bin", "pytorch_model.bin.index.json")


class ModelNotFound(FileNotFoundError):
    """Neither a folder nor a hub repository that can be reached."""


def find_folder(source: str | Path, *, files: tuple[str, ...] = _FILES, revision: str | None = None) -> Path:
    """A local folder: `source` itself, or the snapshot of a hub repository, downloaded where it is not cached.

    Args:
        source: Folder or hub id (`owner/name`).
        files: Patterns of the files wanted from the hub.
        revision: Branch, tag or commit of the hub repository.

    Raises:
        ModelNotFound: saying what was tried and how to give a folder instead.
    """
    if Path(source).is_dir():
        return Path(source)
    name = str(source)
    if Path(source).exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelNotFound(f"{name}: no such folder, and not a hub id (owner/name)")
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(files)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelNotFound(
            f"{name}: no folder of this name, and the hub repository could not be downloaded ({reason}). Without "
            f"network: copy the repository's files to a folder on this machine and give its path"
        ) from None


def read_config(folder: Path) -> Any:
    """The encoder's config (a dataclass of its family) from config.json and preprocessor_config.json.

    Raises:
        ValueError: naming all that is missing or not supported.
    """
    faults, files = [], {}
    for name in ("config.json", "preprocessor_config.json"):
        try:
            files[name] = json.loads((folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            faults.append(f"{name} is missing")
        except (OSError, ValueError) as error:
            faults.append(f"{name} cannot be read ({error})")
    config, family = files.get("config.json"), None
    if config is not None:
        family = ENCODERS.get(config.get("model_type"))
        if family is None or not hasattr(family.config_class, "from_huggingface"):
            supported = [name for name, c in ENCODERS.items() if hasattr(c.config_class, "from_huggingface")]
            faults.append(f"model_type {config.get('model_type')!r} is not supported, supported are {supported}")
            family = None
    if family is not None:
        try:
            found = family.config_class.from_huggingface(_with_defaults(config), files.get(_FILES[1], {}))
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError(f"{folder}: " + "; ".join(faults))
    return found


def load_encoder(source: str | Path, *, revision: str | None = None) -> nnx.Module:
    """Encoder with its pretrained weights.

    Args:
        source: Folder or hub id with config.json, preprocessor_config.json and model.safetensors (also sharded) or
            pytorch_model.bin.
        revision: Of the hub repository.

    Raises:
        ModelNotFound: no such folder or repository.
        ValueError: the config is not supported.
        WeightsError: weights and config disagree; all keys are listed.
    """
    folder = find_folder(source, revision=revision)
    if not folder.samefile(source) if Path(source).is_dir() else not any(folder.glob("*.safetensors")):
        folder = find_folder(source, files=_FILES[:2] + _TORCH_FILES, revision=revision)
    encoder = abstract_encoder(read_config(folder))
    shapes = {path: value.shape for path, value in flat_state(encoder).items()}
    tensors = strip_prefix(_read_tensors(folder), encoder)
    arrays = assemble(tensors, encoder.rules(), shapes, ignored=encoder.ignored, origin=str(folder))
    fill(encoder, arrays, origin=str(folder))
    return encoder


def abstract_encoder(config: Any) -> nnx.Module:
    """Encoder of a config with shapes in place of weights."""
    return nnx.eval_shape(lambda: ENCODERS[config.model_type](config, rngs=nnx.Rngs(0)))


def strip_prefix(tensors: Mapping[str, np.ndarray], encoder: nnx.Module) -> dict[str, np.ndarray]:
    """Keys without the prefix of the model class (`wavlm.` and the like), weight norm in its newer spelling."""

    def strip(key: str) -> str:
        for prefix in encoder.prefixes:
            key = key.removeprefix(prefix)
        key = key.replace(".conv.weight_g", ".conv.parametrizations.weight.original0")
        return key.replace(".conv.weight_v", ".conv.parametrizations.weight.original1")

    return {strip(key): tensor for key, tensor in tensors.items()}


def _with_defaults(config: dict[str, Any]) -> dict[str, Any]:
    """config.json holds differences from defaults that only transformers knows."""
    from transformers import AutoConfig

    return AutoConfig.for_model(**config).to_dict()


def _read_tensors(folder: Path) -> dict[str, np.ndarray]:
    for stem, read in (
        ("model.safetensors", read_safetensors),
        ("pytorch_model.bin", read_torch_file),
    ):
        if (index := folder / f"{stem}.index.json").is_file():
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            if absent := [name for name in names if not (folder / name).is_file()]:
                raise WeightsError(f"{folder}: {index.name} names files that are missing: {absent}")
        elif (folder / stem).is_file():
            names = [stem]
        else:
            continue
        tensors: dict[str, np.ndarray] = {}
        for name in names:
            tensors |= read(folder / name)
        return tensors
    raise WeightsError(f"{folder}: neither model.safetensors nor pytorch_model.bin")
