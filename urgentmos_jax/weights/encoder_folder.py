"""Pretrained encoders from a Hugging Face folder or hub id, without torch."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
from flax import nnx
from huggingface_hub.errors import StrictDataclassError

from urgentmos_jax.encoders import ENCODERS, Architecture, Encoder, make_encoder
from urgentmos_jax.encoders.encoder import no_noise
from urgentmos_jax.schema import find_faults
from urgentmos_jax.weights.rules import WeightsError, assemble, fill, flat_state
from urgentmos_jax.weights.safetensors import read_safetensors
from urgentmos_jax.weights.torch_zip import read_torch_file

__all__ = [
    "CONFIG_FILES",
    "ModelNotFound",
    "abstract_encoder",
    "find_config",
    "find_folder",
    "load_encoder",
    "read_config",
    "strip_prefix",
]

CONFIG_FILES = ("config.json", "preprocessor_config.json")
_SMALL = (*CONFIG_FILES, "*.index.json")

# Hub repositories that hold an encoder alone, and those whose front end the published code gives it.
_PREPROCESSOR_OF = {"Atotti/AFWhisper": "Qwen/Qwen2-Audio-7B"}


class ModelNotFound(FileNotFoundError):
    """Neither a folder nor a hub repository that can be reached."""


def find_folder(source: str | Path, *, files: tuple[str, ...], revision: str | None = None) -> Path:
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


def find_config(source: str | Path, *, revision: str | None = None, noise: bool = False) -> tuple[Path, Architecture]:
    """The folder of an encoder, on the hub without its weights, and its config.

    Args:
        source: Folder or hub id.
        revision: Of the hub repository.
        noise: Whether the config has its rates of training noise (dropout and the like).

    Raises:
        ModelNotFound: no such folder or repository.
        ValueError: naming all that is missing or not supported.
    """
    folder = find_folder(source, files=_SMALL, revision=revision)
    lender = _PREPROCESSOR_OF.get(str(source))
    if lender and not (folder / CONFIG_FILES[1]).is_file():
        return folder, read_config(folder, find_folder(lender, files=CONFIG_FILES[1:]), noise=noise)
    return folder, read_config(folder, noise=noise)


def read_config(folder: Path, preprocessor: Path | None = None, *, noise: bool = False) -> Architecture:
    """The encoder's config (a dataclass of its family) from config.json and preprocessor_config.json.

    Args:
        folder: Holds both files.
        preprocessor: Folder of preprocessor_config.json, where it is another.
        noise: Whether the config has its rates of training noise.

    Raises:
        ValueError: naming all that is missing or not supported.
    """
    faults, files = [], {}
    for name in CONFIG_FILES:
        try:
            place = preprocessor if preprocessor and name == CONFIG_FILES[1] else folder
            files[name] = _json_object(place / name)
        except FileNotFoundError:
            faults.append(f"{name} is missing")
        except (OSError, ValueError) as error:
            faults.append(f"{name} cannot be read ({error})")
    config, family = files.get("config.json"), None
    if config is not None:
        config = _tower(config)
        family = ENCODERS.get(str(config.get("model_type")))
        if family is None or not hasattr(family.config_class, "from_huggingface"):
            supported = [name for name, c in ENCODERS.items() if hasattr(c.config_class, "from_huggingface")]
            faults.append(f"model_type {config.get('model_type')!r} is not supported, supported are {supported}")
            family = None
    if family is not None and noise and not family.config_class.has_noise:
        faults.append(no_noise(config["model_type"]))
    elif family is not None:
        try:
            wanted, options = family.config_class, {"noise": True} if noise else {}
            config = _with_defaults(config, wanted.needed_keys + (wanted.noise_keys if noise else ()))
            found = wanted.from_huggingface(config, files.get(CONFIG_FILES[1], {}), **options)
            faults += find_faults(found)
            if not faults:
                abstract_encoder(found)
        except (StrictDataclassError, ValueError) as error:
            faults.append(str(error))
        except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
            faults.append(f"config.json describes no encoder ({error!r})")
    if faults:
        raise ValueError(f"{folder}: " + "; ".join(faults))
    return found


def load_encoder(
    source: str | Path, *, revision: str | None = None, dtype: str = "float32", noise: bool = False
) -> Encoder:
    """Encoder with its pretrained weights.

    Args:
        source: Folder or hub id with config.json, preprocessor_config.json and model.safetensors (also sharded) or
            pytorch_model.bin; the encoder alone or within a larger model.
        revision: Of the hub repository.
        dtype: Of the weights and with them of the computation, float32 or bfloat16.
        noise: Whether it has its training noise, which acts where a random key is given.

    Raises:
        ModelNotFound: no such folder or repository.
        ValueError: the config is not supported.
        WeightsError: weights and config disagree; all keys are listed.
    """
    folder, config = find_config(source, revision=revision, noise=noise)
    encoder = abstract_encoder(config, dtype)
    unneeded = re.compile("|".join(f"(?:{pattern})" for pattern in encoder.ignored) or r"(?!)")

    def wanted(key: str) -> bool:
        return not unneeded.fullmatch(_strip(key, encoder))

    if not Path(source).is_dir():
        # Of a large model, the shards that hold the encoder alone.
        files = _weight_files(folder, wanted) or ["model.safetensors"]
        folder = find_folder(source, files=(*_SMALL, *files), revision=revision)
        if not _weight_files(folder, wanted):
            folder = find_folder(source, files=(*_SMALL, "pytorch_model.bin"), revision=revision)
    shapes = {path: value.shape for path, value in flat_state(encoder).items()}
    tensors = strip_prefix(_read_tensors(folder, wanted), encoder)
    arrays = assemble(tensors, encoder.rules(), shapes, ignored=encoder.ignored, origin=str(folder))
    fill(encoder, arrays, origin=str(folder))
    return encoder


def abstract_encoder(config: Architecture, dtype: str = "float32") -> Encoder:
    """Encoder of a config with shapes in place of weights."""
    return nnx.eval_shape(lambda: make_encoder(config, dtype, rngs=nnx.Rngs(0)))


def strip_prefix(tensors: Mapping[str, np.ndarray], encoder: Encoder) -> dict[str, np.ndarray]:
    """Keys without the prefix of the model class (`wavlm.` and the like), weight norm in its newer spelling."""

    stripped = {_strip(key, encoder): tensor for key, tensor in tensors.items()}
    if len(stripped) < len(tensors):
        names = [_strip(key, encoder) for key in tensors]
        twice = sorted(key for key, name in zip(tensors, names, strict=True) if names.count(name) > 1)
        raise WeightsError(f"one weight under several names: {twice}")
    return stripped


def _strip(key: str, encoder: Encoder) -> str:
    for prefix in encoder.prefixes:
        key = key.removeprefix(prefix)
    key = key.replace(".conv.weight_g", ".conv.parametrizations.weight.original0")
    return key.replace(".conv.weight_v", ".conv.parametrizations.weight.original1")


def _json_object(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def _tower(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the audio encoder within that of a larger model."""
    place = {
        "qwen2_audio": ("audio_config",),
        "qwen3_omni_moe": ("thinker_config", "audio_config"),
        "qwen3_omni_moe_thinker": ("audio_config",),
    }
    for name in place.get(str(config.get("model_type")), ()):
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
    from transformers import AutoConfig

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
