"""Tables of rules that carry the tensors of a torch checkpoint into a Flax module, checked both ways.

A rule names the checkpoint's keys, the parameter they make (a path such as `layers.stacked.feed_in.kernel`), the
transform between the two and, for stacked layers, the index on the first axis.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx


class WeightsError(ValueError):
    """Checkpoint and architecture disagree; the message lists every key concerned."""


class Rule:
    """keys -> target.

    Args:
        keys: The checkpoint's keys, one or several.
        target: Path of the parameter, several paths where the transform returns as many arrays, or None where the
            tensor is known and not needed (it may also be absent).
        transform: From the arrays of `keys` to that of `target`.
        layer: Index on the first axis of a stacked parameter.
    """

    def __init__(
        self,
        keys: str | tuple[str, ...],
        target: str | tuple[str, ...] | None,
        transform: Callable[..., Any] = lambda x: x,
        layer: int | None = None,
    ):
        self.keys = (keys,) if isinstance(keys, str) else keys
        self.targets = (target,) if isinstance(target, str) else target
        self.transform = transform
        self.layer = layer

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
        """The (path, array) pairs that this rule makes of a checkpoint."""
        made = self.transform(*(arrays[key] for key in self.keys))
        return list(zip(self.targets or (), made if isinstance(made, tuple) else (made,), strict=True))

    def under(self, key_prefix: str, target_prefix: str) -> "Rule":
        """The same rule one level up."""
        keys = tuple(key_prefix + key for key in self.keys)
        targets = None if self.targets is None else tuple(target_prefix + target for target in self.targets)
        return Rule(keys, targets, self.transform, self.layer)


def dense(key: str, target: str, *, bias: bool = True, layer: int | None = None) -> list[Rule]:
    """torch.nn.Linear -> nnx.Linear."""
    rules = [Rule(f"{key}.weight", f"{target}.kernel", np.transpose, layer)]
    return [*rules, Rule(f"{key}.bias", f"{target}.bias", layer=layer)] if bias else rules


def norm(key: str, target: str, *, layer: int | None = None) -> list[Rule]:
    """torch.nn.LayerNorm or GroupNorm -> scale and bias."""
    return [Rule(f"{key}.weight", f"{target}.scale", layer=layer), Rule(f"{key}.bias", f"{target}.bias", layer=layer)]


def conv(key: str, target: str, *, bias: bool = True) -> list[Rule]:
    """torch.nn.Conv1d or Conv2d -> kernel with channels last."""
    rules = [Rule(f"{key}.weight", f"{target}.kernel", lambda w: np.moveaxis(w, (0, 1), (-1, -2)))]
    return [*rules, Rule(f"{key}.bias", f"{target}.bias")] if bias else rules


def attention(key: str, target: str, layer: int | None = None) -> list[Rule]:
    """torch.nn.MultiheadAttention, whose three input projections are one tensor."""
    rules = dense(f"{key}.out_proj", f"{target}.out", layer=layer)
    for theirs, ours in (("weight", "kernel"), ("bias", "bias")):
        targets = tuple(f"{target}.{part}.{ours}" for part in ("query", "key", "value"))
        rules.append(
            Rule(f"{key}.in_proj_{theirs}", targets, lambda x: tuple(part.T for part in np.split(x, 3)), layer)
        )
    return rules


def transformer_layers(key: str, target: str, count: int) -> list[Rule]:
    """torch.nn.TransformerEncoder -> a stack of `PostNormLayer`."""
    rules: list[Rule] = []
    for i in range(count):
        layer, stacked = f"{key}.layers.{i}", f"{target}.stacked"
        rules += attention(f"{layer}.self_attn", f"{stacked}.attention", i)
        rules += norm(f"{layer}.norm1", f"{stacked}.attention_norm", layer=i)
        rules += dense(f"{layer}.linear1", f"{stacked}.feed_in", layer=i)
        rules += dense(f"{layer}.linear2", f"{stacked}.feed_out", layer=i)
        rules += norm(f"{layer}.norm2", f"{stacked}.feed_norm", layer=i)
    return rules


def flat_state(module: nnx.Module) -> dict[str, nnx.Param]:
    """Parameters of a module (real or abstract) by dotted path."""
    state = nnx.state(module, nnx.Param)
    return {".".join(map(str, path)): value for path, value in nnx.to_flat_state(state)}


def assemble(
    tensors: Mapping[str, np.ndarray],
    rules: Iterable[Rule],
    shapes: Mapping[str, tuple[int, ...]],
    *,
    ignored: Iterable[str] = (),
    origin: str,
) -> dict[str, np.ndarray]:
    """Applies a table of rules.

    Args:
        tensors: The checkpoint.
        rules: Each key of the checkpoint belongs to one of them, or matches `ignored`.
        shapes: Of the parameters by path; each is filled by one rule, or by one a layer.
        ignored: Regular expressions of keys that may be there and are not used.
        origin: Name of the file for messages.

    Returns:
        Parameters by path, float32 or as stored.

    Raises:
        WeightsError: naming all missing and unexpected keys, wrong shapes and dtypes, and non-finite values at once.
    """
    rules = list(rules)
    known = {key for rule in rules for key in rule.keys}
    needed = {key for rule in rules if rule.targets is not None for key in rule.keys}
    skip = re.compile("|".join(f"(?:{pattern})" for pattern in ignored) or r"(?!)")
    faults = [f"missing key {key}" for key in sorted(needed - tensors.keys())]
    faults += [f"unexpected key {key}" for key in sorted(tensors.keys() - known) if not skip.fullmatch(key)]
    made: dict[str, Any] = {}
    for rule in rules:
        if rule.targets is None or not tensors.keys() >= set(rule.keys):
            continue
        faults += [f"{fault} in {key}" for key in rule.keys if (fault := _value_fault(tensors[key]))]
        try:
            pairs = rule(tensors)
        except (ValueError, IndexError):
            pairs = []
            faults += [f"{key} has shape {tensors[key].shape}, which does not fit" for key in rule.keys]
        for path, array in pairs:
            shape = shapes[path] if rule.layer is None else shapes[path][1:]
            if array.shape != shape:
                found = ", ".join(f"{key} {tensors[key].shape}" for key in rule.keys)
                faults.append(f"wrong shape: {found} makes {array.shape}, expected {shape} for {path}")
            elif rule.layer is None:
                made[path] = array
            else:
                stack = made.setdefault(path, np.empty(shapes[path], array.dtype))
                stack[rule.layer] = array
    _refuse(faults, origin)
    if unfilled := shapes.keys() - made.keys():
        raise WeightsError(f"{origin}: no rule fills {sorted(unfilled)}")
    return made


def _value_fault(array: np.ndarray) -> str | None:
    """What is wrong with the values of a weight: no floats, or not all of them finite."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return f"dtype {array.dtype}"
    with np.errstate(over="ignore"):
        return None if np.isfinite(array.astype(np.float32, copy=False)).all() else "NaN or infinity"


def fill(module: nnx.Module, arrays: Mapping[str, np.ndarray], *, origin: str) -> None:
    """Puts arrays into a module, in place; every parameter is filled, in its own dtype (float32).

    Raises:
        WeightsError: naming every missing, unexpected or misshapen parameter, and values that are not finite.
    """
    state = flat_state(module)
    faults = [f"missing {path}" for path in sorted(state.keys() - arrays.keys())]
    faults += [f"unexpected {path}" for path in sorted(arrays.keys() - state.keys())]
    faults += [
        f"{path} has shape {arrays[path].shape}, expected {state[path].shape}"
        for path in sorted(state.keys() & arrays.keys())
        if arrays[path].shape != state[path].shape
    ]
    faults += [f"{fault} in {path}" for path in sorted(arrays) if (fault := _value_fault(arrays[path]))]
    _refuse(faults, origin)
    flat = []
    for path, array in arrays.items():
        steps = tuple(int(step) if step.isdigit() else step for step in path.split("."))
        flat.append((steps, nnx.Param(array.astype(state[path].dtype, copy=False))))
    nnx.update(module, nnx.from_flat_state(flat))


def _refuse(faults: list[str], origin: str) -> None:
    if faults:
        listed = "\n  ".join(faults)
        raise WeightsError(f"{origin}: {len(faults)} faults in the weights\n  {listed}")
