"""Pretrained encoders from a Hugging Face folder or hub id, without torch."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from huggingface_hub.errors import StrictDataclassError

from urgentmos_jax.encoders.encoder import Architecture, Encoder, no_regularisation
from urgentmos_jax.encoders.registry import make_encoder
from urgentmos_jax.lazy import missing
from urgentmos_jax.schema import find_faults
from urgentmos_jax.weights.hub import find_folder
from urgentmos_jax.weights.huggingface.registry import FAMILIES
from urgentmos_jax.weights.rules import WeightsError, assemble, fill, flat_state
from urgentmos_jax.weights.safetensors import read_safetensors
from urgentmos_jax.weights.torch_zip import read_torch_file

CONFIG_FILES = ("config.json", "preprocessor_config.json")
_SMALL = (*CONFIG_FILES, "*.index.json")

# Hub repositories that hold an encoder alone, and those whose front end the published code gives it.
_PREPROCESSOR_OF = {"Atotti/AFWhisper": "Qwen/Qwen2-Audio-7B"}


def find_config(
    source: str | Path, *, revision: str | None = None, regularisation: bool = False, own_length: bool | None = None
) -> tuple[Path, Architecture]:
    """The folder of an encoder, on the hub without its weights, and its config.

    Args:
        source: Folder or hub id.
        revision: Of the hub repository.
        regularisation: Whether the config has its rates of train-time regularisation (dropout, SpecAugment, LayerDrop).
        own_length: Whether an encoder of Whisper's attends to a clip alone or to its window; None = to the window.

    Raises:
        ModelNotFound: no such folder or repository.
        ValueError: naming all that is missing or not supported; `own_length` of an encoder that has no such key.
    """
    folder = find_folder(source, files=_SMALL, revision=revision)
    lender = _PREPROCESSOR_OF.get(str(source).partition("@")[0])
    lent = find_folder(lender, files=CONFIG_FILES[1:]) if lender and not (folder / CONFIG_FILES[1]).is_file() else None
    found = read_config(folder, lent, regularisation=regularisation)
    try:
        return folder, found.with_own_length(own_length)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None


def read_config(folder: Path, preprocessor: Path | None = None, *, regularisation: bool = False) -> Architecture:
    """The encoder's config from config.json and preprocessor_config.json, which may be in a folder of its own.

    Raises:
        ValueError: naming all that is missing or not supported.
    """
    faults, files = [], {}
    for name in CONFIG_FILES:
        try:
            source = preprocessor if preprocessor and name == CONFIG_FILES[1] else folder
            files[name] = _json_object(source / name)
        except FileNotFoundError:
            faults.append(f"{name} is missing")
        except (OSError, ValueError) as error:
            faults.append(f"{name} cannot be read ({error})")
    if "config.json" in files:
        config = _tower(files["config.json"])
        try:
            found = _architecture(config, files.get(CONFIG_FILES[1], {}), regularisation=regularisation)
            faults += find_faults(found)
            if not faults:
                _abstract_encoder(found, "float32")
        except (StrictDataclassError, ValueError) as error:
            faults.append(str(error))
        except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
            faults.append(f"config.json describes no encoder ({error!r})")
    if faults:
        raise ValueError(f"{folder}: " + "; ".join(faults))
    return found


def _architecture(config: dict[str, Any], preprocessor: dict[str, Any], *, regularisation: bool) -> Architecture:
    model_type = config.get("model_type")
    family = FAMILIES.get(str(model_type))
    if family is None:
        raise ValueError(f"model_type is {model_type!r}, must be one of {', '.join(FAMILIES)}")
    config = _with_defaults(config, family.needed_keys + (family.regularisation_keys if regularisation else ()))
    found = family.config(config, preprocessor)
    if not regularisation:
        return found.without_regularisation()
    if not found.has_regularisation:
        raise ValueError(no_regularisation(found.model_type))
    return found


def load_encoder(
    source: str | Path,
    *,
    revision: str | None = None,
    dtype: str = "float32",
    regularisation: bool = False,
    own_length: bool | None = None,
) -> Encoder:
    """Encoder with its pretrained weights.

    Args:
        source: Folder or hub id with config.json, preprocessor_config.json and model.safetensors (also sharded) or
            pytorch_model.bin; the encoder alone or within a larger model.
        dtype: Of the weights and with them of the computation, float32 or bfloat16.
        revision, regularisation, own_length: As `find_config`; regularisation acts where a random key is given.

    Raises:
        ModelNotFound, ValueError: As `find_config`.
        WeightsError: weights and config disagree; all keys are listed.
    """
    folder, config = find_config(source, revision=revision, regularisation=regularisation, own_length=own_length)
    encoder, family = _abstract_encoder(config, dtype), FAMILIES[config.model_type]
    ignored = re.compile("|".join(f"(?:{pattern})" for pattern in family.ignored) or r"(?!)")

    def wanted(key: str) -> bool:
        return not ignored.fullmatch(family.rule_key(key))

    if not Path(source).is_dir():
        # Of a large model, the shards that hold the encoder alone.
        files = _weight_files(folder, wanted) or ["model.safetensors"]
        folder = find_folder(source, files=(*_SMALL, *files), revision=revision)
        if not _weight_files(folder, wanted):
            folder = find_folder(source, files=(*_SMALL, "pytorch_model.bin"), revision=revision)
    shapes = {path: value.shape for path, value in flat_state(encoder).items()}
    tensors = family.by_rule_key(_read_tensors(folder, wanted))
    arrays = assemble(tensors, family.rules(encoder), shapes, ignored=family.ignored, origin=str(folder))
    fill(encoder, arrays, origin=str(folder))
    return encoder


def _abstract_encoder(config: Architecture, dtype: str) -> Encoder:
    """Encoder of a config with shapes in place of weights."""
    return nnx.eval_shape(lambda: make_encoder(config, dtype, rngs=nnx.Rngs(0)))


def _json_object(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def _tower(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the audio encoder within that of a larger model."""
    path = {
        "qwen2_audio": ("audio_config",),
        "qwen3_omni_moe": ("thinker_config", "audio_config"),
        "qwen3_omni_moe_thinker": ("audio_config",),
    }
    for name in path.get(str(config.get("model_type")), ()):
        inner = config.get(name)
        config = inner if isinstance(inner, dict) else {}
    return config


def _with_defaults(config: dict[str, Any], needed: tuple[str, ...]) -> dict[str, Any]:
    """config.json may leave out what is as transformers has it by default.

    What our class gives a default has the same one there, so transformers (which imports torch where that is
    installed) is asked only where something else is left out.
    """
    if set(needed) <= config.keys():
        return config
    try:
        from transformers import AutoConfig
    except ModuleNotFoundError as error:
        lacking = ", ".join(sorted(set(needed) - config.keys()))
        raise missing(error, "hub", f"config.json leaves out {lacking}, whose defaults it knows") from None
    return AutoConfig.for_model(**config).to_dict()


def _weight_files(folder: Path, wanted: Callable[[str], bool]) -> list[str]:
    """Names of the files that hold wanted weights: by the index of shards, or the one there is; none without any."""
    for stem in ("model.safetensors", "pytorch_model.bin"):
        if (index := folder / f"{stem}.index.json").is_file():
            try:
                names = sorted({str(name) for key, name in _json_object(index)["weight_map"].items() if wanted(key)})
            except (ValueError, KeyError, AttributeError) as error:
                raise WeightsError(f"{index}: no index of shards ({error!r})") from None
            if outside := [name for name in names if Path(name).name != name]:
                raise WeightsError(f"{index}: names files outside its folder: {outside}")
            return names
        if (folder / stem).is_file():
            return [stem]
    return []


def _read_tensors(folder: Path, wanted: Callable[[str], bool]) -> dict[str, np.ndarray]:
    names = _weight_files(folder, wanted)
    if not names:
        raise WeightsError(f"{folder}: neither model.safetensors nor pytorch_model.bin")
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise WeightsError(f"{folder}: its index names files that are missing: {absent}")
    tensors: dict[str, np.ndarray] = {}
    for name in names:
        path = folder / name
        shard = read_safetensors(path, wanted) if name.endswith(".safetensors") else read_torch_file(path)
        if not isinstance(shard, dict) or not all(isinstance(x, np.ndarray) for x in shard.values()):
            raise WeightsError(f"{path}: not a state dict (a mapping of names to tensors)")
        if twice := sorted(tensors.keys() & shard.keys()):
            raise WeightsError(f"{path}: holds what an earlier shard holds too: {twice}")
        tensors |= shard
    return tensors
