"""Pretrained encoders from a Hugging Face folder or hub id, without torch."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
from flax import nnx
from huggingface_hub.errors import StrictDataclassError

from urgentmos_jax.config_types import type_faults
from urgentmos_jax.encoders import ENCODERS
from urgentmos_jax.encoders.weights import WeightsError, assemble, fill, flat_state
from urgentmos_jax.safetensors_file import read_safetensors
from urgentmos_jax.torch_file import read_torch_file

__all__ = [
    "CONFIG_FILES",
    "ModelNotFound",
    "abstract_encoder",
    "find_folder",
    "load_encoder",
    "read_config",
    "strip_prefix",
]

CONFIG_FILES = ("config.json", "preprocessor_config.json")
_FILES = (*CONFIG_FILES, "*.safetensors", "*.safetensors.index.json")
_TORCH_FILES = (*CONFIG_FILES, "pytorch_model*.bin", "pytorch_model.bin.index.json")


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
    if Path(source).exists():
        raise ModelNotFound(f"{name}: a file; give the folder of a model, or a hub id (owner/name)")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelNotFound(f"{name}: no such folder, and not a hub id (owner/name)")
    try:
        folder = Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(files)))
    except Exception as error:  # Of the hub, of its HTTP client, or of the disk: they have no base in common.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelNotFound(
            f"{name}: no folder of this name, and the hub repository could not be downloaded ({reason}). Without "
            f"network: copy the repository's files to a folder on this machine and give its path"
        ) from None
    if not any(any(folder.glob(pattern)) for pattern in files):
        raise ModelNotFound(f"{name}: the hub repository has none of {', '.join(files)}; check the id")
    return folder


def read_config(folder: Path) -> Any:
    """The encoder's config (a dataclass of its family) from config.json and preprocessor_config.json.

    Raises:
        ValueError: naming all that is missing or not supported.
    """
    faults, files = [], {}
    for name in CONFIG_FILES:
        try:
            files[name] = _json_object(folder / name)
        except FileNotFoundError:
            faults.append(f"{name} is missing")
        except (OSError, ValueError) as error:
            faults.append(f"{name} cannot be read ({error})")
    config, family = files.get("config.json"), None
    if config is not None:
        family = ENCODERS.get(str(config.get("model_type")))
        if family is None or not hasattr(family.config_class, "from_huggingface"):
            supported = [name for name, c in ENCODERS.items() if hasattr(c.config_class, "from_huggingface")]
            faults.append(f"model_type {config.get('model_type')!r} is not supported, supported are {supported}")
            family = None
    if family is not None:
        try:
            config = _with_defaults(config, family.config_class)
            found = family.config_class.from_huggingface(config, files.get(CONFIG_FILES[1], {}))
            faults += type_faults(found)
            if not faults:
                abstract_encoder(found)
        except (StrictDataclassError, ValueError) as error:
            faults.append(str(error))
        except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
            faults.append(f"config.json describes no encoder ({error!r})")
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
    if not Path(source).is_dir() and not any(folder.glob("*.safetensors")):
        folder = find_folder(source, files=_TORCH_FILES, revision=revision)
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

    stripped = {strip(key): tensor for key, tensor in tensors.items()}
    if len(stripped) < len(tensors):
        names = [strip(key) for key in tensors]
        raise WeightsError(f"one weight under several names: {sorted(k for k in tensors if names.count(strip(k)) > 1)}")
    return stripped


def _json_object(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def _with_defaults(config: dict[str, Any], config_class: type) -> dict[str, Any]:
    """config.json may leave out what is as transformers has it by default.

    What our class gives a default has the same one there, so transformers (which imports torch where that is
    installed) is asked only where something else is left out.
    """
    needed = {field.name for field in dataclasses.fields(config_class) if field.default is dataclasses.MISSING}
    if needed - {"do_normalize"} <= config.keys():  # do_normalize is in preprocessor_config.json.
        return config
    from transformers import AutoConfig

    return AutoConfig.for_model(**config).to_dict()


def _read_tensors(folder: Path) -> dict[str, np.ndarray]:
    for stem, read in (
        ("model.safetensors", read_safetensors),
        ("pytorch_model.bin", read_torch_file),
    ):
        if (index := folder / f"{stem}.index.json").is_file():
            try:
                names = sorted({str(name) for name in _json_object(index)["weight_map"].values()})
            except (ValueError, KeyError, AttributeError) as error:
                raise WeightsError(f"{index}: no index of shards ({error!r})") from None
            if outside := [name for name in names if Path(name).name != name]:
                raise WeightsError(f"{index}: names files outside its folder: {outside}")
            if absent := [name for name in names if not (folder / name).is_file()]:
                raise WeightsError(f"{folder}: {index.name} names files that are missing: {absent}")
        elif (folder / stem).is_file():
            names = [stem]
        else:
            continue
        tensors: dict[str, np.ndarray] = {}
        for name in names:
            shard = read(folder / name)
            if not isinstance(shard, dict) or not all(isinstance(x, np.ndarray) for x in shard.values()):
                raise WeightsError(f"{folder / name}: not a state dict (a mapping of names to tensors)")
            if twice := sorted(tensors.keys() & shard.keys()):
                raise WeightsError(f"{folder / name}: holds what an earlier shard holds too: {twice}")
            tensors |= shard
        return tensors
    raise WeightsError(f"{folder}: neither model.safetensors nor pytorch_model.bin")
