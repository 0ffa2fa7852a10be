"""Scores of torch waveforms, with their gradients: a loss or a reward within a torch training.

>>> scorer = Scorer("urgentmos-small")
>>> enhanced = network(noisy)                          # [B, T], 16 kHz
>>> loss = -scorer(enhanced)["mos_overall"].mean() + l1(enhanced, clean)
>>> loss.backward()

Arrays go over by dlpack, without a copy where both tools compute on the same device. A score alone is easily deceived:
keep a term that ties the output to its reference, and look at metrics that are not the loss.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.interop.shared import SharedModel
from urgentmos_jax.scoring.model import Model

if TYPE_CHECKING:
    import torch


class Scorer:
    """Scores of batches of torch waveforms, differentiable once with respect to these.

    Rows are padded to a few lengths, since each is compiled; a batch size is compiled too.

    Args:
        model: Model folder, hub id, or a `Model`; bfloat16 and calibration are as it has them.
        metrics: Some of its metrics; None = all.
    """

    def __init__(self, model: str | Path | Model, *, metrics: Sequence[str] | None = None):
        self._model = SharedModel(model)
        self._metrics = None if metrics is None else tuple(metrics)
        self._params: dict[jax.Device, Any] = {}

    @functools.cached_property
    def metrics(self) -> tuple[str, ...]:
        """Names of the scores, in order."""
        known = self._model.model.metrics
        if unknown := [name for name in self._metrics or () if name not in known]:
            raise ValueError(f"metrics {unknown} are not among those of the model: {list(known)}")
        return self._metrics or known

    def __call__(self, waveform: "torch.Tensor", lengths: "torch.Tensor | None" = None) -> "dict[str, torch.Tensor]":
        """Scores a batch.

        Args:
            waveform: [B, T] or [T], floats, 16 kHz (`torchaudio.functional.resample` is differentiable), on any device.
            lengths: [B] samples; what lies beyond has no influence. None: the whole row.

        Returns:
            {metric: [B]} float32, on the waveform's device.

        Raises:
            ValueError: Another number of axes; a row or a length shorter than the model scores, or longer than it takes
                at once; not one length a row.
        """
        import torch

        if waveform.ndim not in (1, 2) or not waveform.is_floating_point():
            kind = f"{waveform.dtype} {list(waveform.shape)}"
            raise ValueError(f"the waveform is {kind}, expected floats [B, T] or [T] at {SAMPLE_RATE_HZ} Hz")
        batch = torch.atleast_2d(waveform)
        ends = self._ends(batch.shape[0], batch.shape[1], lengths)
        room = next(size for size in self._model.model.engine.bucket_sizes if size >= ends.max())
        batch = batch[:, :room].float()
        # Memory of its own, which nobody writes to while jax holds it.
        batch = torch.nn.functional.pad(batch, (0, room - batch.shape[1])).clone()
        scores = _function().apply(batch, self, ends)
        return dict(zip(self.metrics, scores.to(waveform.device), strict=True))

    def _ends(self, rows: int, samples: int, lengths: Any) -> np.ndarray:
        engine = self._model.model.engine
        ends = np.full(rows, samples) if lengths is None else lengths.detach().cpu().numpy().reshape(-1)
        if len(ends) != rows or not np.issubdtype(ends.dtype, np.integer):
            raise ValueError(f"lengths are {ends.dtype} of {len(ends)} rows, expected integers, one for each of {rows}")
        low, high = engine.min_samples, min(samples, engine.window_samples)
        if not rows or ends.min() < low or ends.max() > high:
            given = f"{ends.min()} to {ends.max()}" if rows else "no"
            text = f"rows of {given} samples: the model takes {low} to {engine.window_samples} at once"
            raise ValueError(f"{text}, and no more than the {samples} that are there; cut, or give other lengths")
        return ends.astype(np.int32)

    def _params_on(self, device: jax.Device) -> Any:
        if device not in self._params:
            self._params[device] = jax.device_put(self._model.model.params, device)
        return self._params[device]

    @functools.cached_property
    def _forward(self) -> Any:
        return jax.jit(self._scores)

    @functools.cached_property
    def _with_pullback(self) -> Any:
        return jax.jit(lambda params, x, ends: jax.vjp(lambda x: self._scores(params, x, ends), x))

    def _scores(self, params: Any, waveform: jax.Array, ends: jax.Array) -> jax.Array:
        found = self._model.model.apply(waveform, ends, params=params)
        return jnp.stack([found[name] for name in self.metrics])


_pull = jax.jit(lambda pullback, gradient: pullback(gradient)[0])


@functools.cache
def _function() -> Any:
    """The autograd function, [B, T] -> [K, B]; made when it is asked for, so that this file needs no torch."""
    import torch

    class Scores(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, waveform: torch.Tensor, scorer: Scorer, ends: np.ndarray) -> torch.Tensor:
            x = _to_jax(waveform)
            device = next(iter(x.devices()))
            given = scorer._params_on(device), x, jax.device_put(ends, device)
            if ctx.needs_input_grad[0]:
                scores, ctx.pullback = scorer._with_pullback(*given)
            else:
                scores = scorer._forward(*given)
            ctx.device = waveform.device
            return _to_torch(scores)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
            found = _to_torch(_pull(ctx.pullback, _to_jax(gradient.clone())))
            return found.to(ctx.device), None, None

    return Scores


def _to_jax(x: "torch.Tensor") -> jax.Array:
    """On jax's own kind of device; by way of the host where torch computes on another."""
    platform = jax.default_backend()
    x = x.detach().contiguous()
    if x.device.type != ("cuda" if platform == "gpu" else "cpu"):
        x = x.cpu()
    found = jax.dlpack.from_dlpack(x)
    return found if next(iter(found.devices())).platform == platform else jax.device_put(found, jax.local_devices()[0])


def _to_torch(x: jax.Array) -> "torch.Tensor":
    import torch

    x = jax.block_until_ready(x)
    if next(iter(x.devices())).platform == "tpu":
        return torch.from_numpy(np.array(x))
    return torch.from_dlpack(x)
