"""Scoring and training on a GPU in float32, TF32 and bfloat16, against the torch reference on the same clips."""

import contextlib
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from configs import f4c1m5_d_ref
from launch.benchmark.batches import pairs_of_clips, training_flops
from launch.benchmark.clips import speech
from launch.benchmark.measuring import MATMUL_FLOPS, in_rounds, matmul_turn, tell
from launch.benchmark.models import model_files
from launch.benchmark.settings import Settings
from launch.benchmark.trainings import Ours, Theirs
from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ
from urgentmos_jax.model.cost import clip_flops
from urgentmos_jax.model.urgentmos import UrgentMOS
from urgentmos_jax.scoring.engine import Engine
from urgentmos_jax.statistics.ranks import spearman
from urgentmos_jax.training.config import read_config
from urgentmos_jax.training.start import with_sizes
from urgentmos_jax.weights.model_folder import load_folder

# Dense operations a second in bfloat16, TF32 and float32, by a part of the name: NVIDIA's data sheets, no sparsity.
PEAKS = {
    "H200": (989e12, 494e12, 67e12),
    "H100 PCIe": (756e12, 378e12, 51e12),
    "H100": (989e12, 494e12, 67e12),
    "A100": (312e12, 156e12, 19.5e12),
    "L40S": (362e12, 183e12, 91.6e12),
    "A10G": (70e12, 35e12, 35e12),
    "L4": (121e12, 60e12, 30e12),
}
PRECISIONS = ("float32", "tf32", "bfloat16")
MATMUL = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}
# The paper's, on an A100: real-time factor of scoring, steps of about 400 s a second.
PAPER = {"F1C1M5": (0.002, 2.16), "F4C1M5": (0.009, 0.32)}
# Of a pair in training.
PAIR_SECONDS = 5.0
FLOAT32_AGREES, BFLOAT16_SRCC = 1e-3, 0.999


def measure(settings: Settings) -> dict[str, Any]:
    """Measures F1C1M5, or --model, and F4C1M5 with random weights where no model is given and a GPU is there.

    Returns:
        For each model and precision: audio seconds a second, real-time factor, share of the peak (of the data sheet,
        and of a matrix product in the same run), memory, and agreement with float32 on the CPU.

    Raises:
        SystemExit: float32 scores differ from those of the CPU by more than 1e-3.
    """
    on_gpu = jax.default_backend() == "gpu"
    figures: dict[str, Any] = {"gpu": on_gpu, "paper": {name: list(bar) for name, bar in PAPER.items()}}
    clips, about = speech(settings)
    figures |= about
    folder, checkpoint, encoder = model_files(settings)
    models: dict[str, Callable[[], UrgentMOS]] = {"F1C1M5": lambda: load_folder(folder)[0]}
    if settings.model is None and on_gpu:
        models["F4C1M5"] = _f4c1m5
    for name, load in models.items():
        module = load()
        torch = (checkpoint, encoder) if settings.against_torch and name == "F1C1M5" else None
        figures |= {f"{name}_{key}": x for key, x in scoring(settings, module, clips, torch).items()}
        settings.partial(figures)
        if settings.time_is_over():
            break
        figures |= {f"{name}_{key}": x for key, x in training(settings, module, torch).items()}
        settings.partial(figures)
    return figures | attention(settings)


def scoring(settings: Settings, module: UrgentMOS, clips: list[np.ndarray], torch: Any) -> dict[str, Any]:
    """Everyone's scores of the clips, in turns."""
    reference = _Scorer(module, "float32", settings, jax.devices("cpu")[0])(clips)
    scorers = {name: _Scorer(module, name, settings, jax.devices()[0]) for name in PRECISIONS}
    turns: dict[str, Callable[[], Any]] = {name: lambda one=one: one(clips) for name, one in scorers.items()}
    if torch is not None:
        turns |= _torch_scoring(*torch, clips)
    turns |= _matmul_turns()
    for name, turn in turns.items():
        tell(f"compiling {name}")
        turn()
    rounds = list(in_rounds(turns, settings))
    times, found = [taken for taken, _ in rounds], rounds[-1][1]
    seconds = sum(map(len, clips)) / SAMPLE_RATE_HZ
    work = sum(clip_flops(module.config, len(clip)) for clip in clips)
    median = {name: statistics.median(taken[name] for taken in times) for name in turns}
    figures: dict[str, Any] = {}
    for name in (one for one in turns if not one.startswith("matmul")):
        figures |= _speed(f"score_{name}", seconds, work, median[name], median)
        difference = np.abs(found[name] - reference).max()
        figures[f"score_{name}_largest_difference"] = float(difference)
        if len(clips) > 2:
            figures[f"score_{name}_srcc"] = float(spearman(found[name][:, 0], reference[:, 0]))
        if name in scorers:
            figures[f"score_{name}_memory_mb"] = scorers[name].memory / 1e6
    if not figures["score_float32_largest_difference"] <= FLOAT32_AGREES:
        raise SystemExit(f"float32 scores differ from the CPU's by {figures['score_float32_largest_difference']:.2g}")
    if len(clips) > 2:
        figures["bfloat16_agrees"] = figures["score_bfloat16_srcc"] > BFLOAT16_SRCC
    return figures


def training(settings: Settings, module: UrgentMOS, torch: Any) -> dict[str, Any]:
    """Updates with one batch of pairs, about 400 s on a GPU as in the paper, in turns."""
    batch_seconds = settings.batch_seconds or (400.0 if jax.default_backend() == "gpu" else 20.0)
    rows = max(1, round(batch_seconds / PAIR_SECONDS / 2))
    batch = pairs_of_clips(module.config.metrics, rows=rows, seconds=PAIR_SECONDS)
    turns, ours = {}, {}
    for name in PRECISIONS:
        ours[name] = Ours(module, precision="bfloat16" if name == "bfloat16" else "float32")
        turns[name] = _under(name, lambda one=ours[name]: one.epoch([batch]))
    if torch is not None:
        theirs = Theirs(*torch)
        prepared = [theirs.prepare(batch)]
        for name in PRECISIONS:
            turns[f"torch_{name}"] = _torch_under(name, lambda: theirs.epoch(prepared))
    turns |= _matmul_turns()
    for name, turn in turns.items():
        tell(f"compiling {name}")
        turn()
    times = [taken for taken, _ in in_rounds(turns, settings)]
    median = {name: statistics.median(taken[name] for taken in times) for name in turns}
    seconds, work = 2 * rows * PAIR_SECONDS, training_flops(module.config, [batch])
    figures: dict[str, Any] = {"train_seconds_of_audio_a_step": seconds}
    for name in (one for one in turns if not one.startswith("matmul")):
        figures |= _speed(f"train_{name}", seconds, work, median[name], median)
        figures[f"train_{name}_steps_a_second"] = 1 / median[name]
        if name in ours:
            figures[f"train_{name}_memory_mb"] = ours[name].memory(batch) / 1e6
    return figures


def attention(settings: Settings, *, clips: int = 0) -> dict[str, Any]:
    """WavLM's attention with its bias, as the layers compute it and by `jax.nn.dot_product_attention`."""
    clips = clips or (32 if jax.default_backend() == "gpu" else 1)
    heads, frames, width = 12, 249, 64
    rng = np.random.default_rng(0)
    q, k, v = (jnp.asarray(rng.standard_normal((clips, frames, heads, width)), jnp.bfloat16) for _ in range(3))
    bias = jnp.asarray(rng.standard_normal((clips, heads, frames, frames)), jnp.bfloat16)

    def ours(q: jax.Array, k: jax.Array, v: jax.Array, bias: jax.Array) -> jax.Array:
        scores = jnp.einsum("bqhd,bkhd->bhqk", q * width**-0.5, k).astype(jnp.float32) + bias
        powers = jnp.exp(scores - scores.max(-1, keepdims=True))
        found = jnp.einsum("bhqk,bkhd->bqhd", powers.astype(v.dtype), v)
        return (found / powers.sum(-1).transpose(0, 2, 1)[..., None]).astype(v.dtype)

    programs = {"ours": jax.jit(ours), "fused": jax.jit(lambda *x: jax.nn.dot_product_attention(*x))}
    found = {name: np.asarray(one(q, k, v, bias), np.float32) for name, one in programs.items()}
    turns = {name: lambda one=one: jax.block_until_ready(one(q, k, v, bias)) for name, one in programs.items()}
    times = [taken for taken, _ in in_rounds(turns, settings)]
    return {
        **{f"attention_{name}_ms": 1e3 * statistics.median(taken[name] for taken in times) for name in turns},
        "attention_largest_difference": float(np.abs(found["ours"] - found["fused"]).max()),
    }


class _Scorer:
    """Scores [clips, metrics] in one precision on one device; keeps its compiled programs."""

    def __init__(self, module: UrgentMOS, precision: str, settings: Settings, device: jax.Device):
        kind = "bfloat16" if precision == "bfloat16" else "float32"
        self._engine = Engine(module, precision=kind, batch_seconds=settings.batch_seconds, devices=[device])
        self._params = self._engine.place(nnx.state(module))
        self._device, self._matmul = device, MATMUL[precision]
        self._names = list(module.config.metrics)
        self._compiled: dict[tuple[int, int], Any] = {}
        self.memory = 0

    def __call__(self, clips: list[np.ndarray]) -> np.ndarray:
        found = np.empty((len(clips), len(self._names)))
        waiting = []
        for batch in self._engine.plan([len(clip) for clip in clips]):
            waveform = np.zeros((batch.rows, batch.size), np.float32)
            lengths = np.zeros(batch.rows, np.int32)
            for row, index in enumerate(batch.indices):
                waveform[row, : len(clips[index])], lengths[row] = clips[index], len(clips[index])
            arrays = jax.device_put((waveform, lengths), self._device)
            waiting.append((batch, self._program(arrays)(self._params, *arrays)))
        for batch, scores in waiting:
            values = np.stack([np.asarray(scores[name]) for name in self._names], 1)
            found[list(batch.indices)] = values[: len(batch.indices)]
        return found

    def _program(self, arrays: tuple[jax.Array, jax.Array]) -> Any:
        shape = arrays[0].shape
        if shape not in self._compiled:
            # The engine itself always asks for the highest precision.
            def scores(params: Any, waveform: jax.Array, lengths: jax.Array) -> dict[str, jax.Array]:
                module = nnx.merge(self._engine.graph, params)
                return {name: one.score for name, one in module.absolute(module.encode(waveform, lengths)).items()}

            with jax.default_matmul_precision(self._matmul):
                self._compiled[shape] = jax.jit(scores).lower(self._params, *arrays).compile()
            plan = self._compiled[shape].memory_analysis()
            self.memory = max(self.memory, plan.argument_size_in_bytes + plan.temp_size_in_bytes)
        return self._compiled[shape]


def _matmul_turns() -> dict[str, Callable[[], Any]]:
    types = {name: jnp.bfloat16 if name == "bfloat16" else jnp.float32 for name in PRECISIONS}
    return {f"matmul_{name}": matmul_turn(dtype, precision=MATMUL[name]) for name, dtype in types.items()}


def _speed(name: str, audio: float, work: float, seconds: float, median: dict[str, float]) -> dict[str, float]:
    precision = name.rsplit("_", 1)[1]
    found = {
        f"{name}_audio_seconds_a_second": audio / seconds,
        f"{name}_rtf": seconds / audio,
        f"{name}_share_of_matmul_rate": work / seconds / (MATMUL_FLOPS / median[f"matmul_{precision}"]),
    }
    kind = jax.devices()[0].device_kind
    peaks = next((peaks for part, peaks in PEAKS.items() if part in kind), None)
    if peaks:
        peak = peaks[("bfloat16", "tf32", "float32").index(precision)]
        found[f"{name}_mfu"] = work / seconds / peak
    return found


def _under(precision: str, turn: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with jax.default_matmul_precision(MATMUL[precision]):
            return turn()

    return run


def _f4c1m5() -> UrgentMOS:
    config = with_sizes(read_config(f4c1m5_d_ref.get_config()).model, offline=True)
    return nnx.jit(lambda: UrgentMOS(config, rngs=nnx.Rngs(0)))()


def _torch_scoring(checkpoint: Any, encoder: Any, clips: list[np.ndarray]) -> dict[str, Callable[[], Any]]:
    """The reference in batches of 32 by length: eager in each precision; compiled on a GPU."""
    import torch

    from launch.benchmark.torch_reference.checkpoints import from_checkpoint

    gpu = torch.cuda.is_available() and jax.default_backend() == "gpu"
    model = from_checkpoint(checkpoint, [encoder]).to("cuda" if gpu else "cpu")
    tensors = [torch.from_numpy(clip).to("cuda" if gpu else "cpu") for clip in clips]
    order = sorted(range(len(clips)), key=lambda i: len(clips[i]))

    def run(call: Callable[[Any], Any]) -> np.ndarray:
        found = np.empty((len(clips), len(model.metrics)))
        with torch.inference_mode():
            for start in range(0, len(order), 32):
                rows = order[start : start + 32]
                values = call([tensors[i] for i in rows])
                found[rows] = np.stack([values[name].float().cpu().numpy() for name in model.metrics], 1)
        return found

    calls = {"torch": model}
    if gpu:
        calls["torch_compiled"] = torch.compile(model, dynamic=True)
    return {
        f"{kind}_{name}": _torch_under(name, lambda call=call: run(call))
        for kind, call in calls.items()
        for name in PRECISIONS
    }


def _torch_under(precision: str, turn: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with _torch_precision(precision):
            return turn()

    return run


@contextlib.contextmanager
def _torch_precision(precision: str) -> Iterator[None]:
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    gpu = torch.cuda.is_available() and jax.default_backend() == "gpu"
    try:
        with torch.autocast("cuda" if gpu else "cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            yield
        if gpu:
            torch.cuda.synchronize()
    finally:
        torch.set_float32_matmul_precision(before)
