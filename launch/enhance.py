"""The score as a loss: a small enhancement network is trained by a quality model, and measured by other metrics.

    pip install -e ".[train]" pystoi pesq
    python -m launch.enhance --model M --clean DIR [--updates 300] [--history FILE]

Recordings of clean speech get pink noise of -5 to 10 dB. One network, a mask on the spectrogram, is trained by Optax
from one start three times: by the distance to the clean spectrogram, by the score alone, and by both. As it goes, the
model's score of recordings that are not trained on stands beside metrics against the clean ones, which are no loss. If
the score rises and these fall, the network has learnt to deceive the model.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags
from flax import nnx

from urgentmos_jax.audio.loading import AudioError, load_audio
from urgentmos_jax.files import check_writable, write_json
from urgentmos_jax.labels import intrusive
from urgentmos_jax.manifests.inputs import read_inputs
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.scoring.loading import keep_freed_memory, load_model
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.synthesis.degradations import pink_noise
from urgentmos_jax.tables import markdown_table

FLAGS = flags.FLAGS
_MODEL = flags.DEFINE_string("model", None, "Model folder or hub id.", required=True)
_CLEAN = flags.DEFINE_string("clean", None, "Folder or list of clean recordings.", required=True)
_METRIC = flags.DEFINE_string("metric", "", "Score that is raised; the model's first by default.")
_UPDATES = flags.DEFINE_integer("updates", 300, "Of each of the three trainings.")
_HISTORY = flags.DEFINE_string(
    "history", None, "JSON file of what was measured: a row for each loss and each eighth of its updates."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of noise, order and initialisation.")

WINDOW, HOP, SAMPLES, BATCH = 512, 256, 32000, 8
# The distance is in units of log magnitude; the score enters divided by its range.
DISTANCE_WEIGHT, SCORE_WEIGHT = 1.0, 3.0
METRICS = ("si_sdr", "estoi", "pesq", "lsd")
LOOKS = 8
KINDS = {"distance": (DISTANCE_WEIGHT, 0.0), "score": (0.0, SCORE_WEIGHT), "both": (DISTANCE_WEIGHT, SCORE_WEIGHT)}

Enhance = Callable[[np.ndarray], jax.Array]


class Network(nnx.Module):
    """A mask between 0 and 1 on each line of the spectrogram, by three convolutions over time. 0.5 M parameters."""

    def __init__(self, width: int = 192, *, rngs: nnx.Rngs):
        lines = WINDOW // 2 + 1
        sizes = (lines, width, width, lines)
        self.layers = nnx.List(nnx.Conv(a, b, (5,), rngs=rngs) for a, b in itertools.pairwise(sizes))

    def __call__(self, noisy: jax.Array) -> jax.Array:
        """[B, T] -> [B, T], enhanced."""
        spectrum = stft(noisy)
        x = log_magnitude(spectrum)
        x = (x - x.mean((1, 2), keepdims=True)) / 3
        for layer in self.layers[:-1]:
            x = nnx.silu(layer(x))
        return istft(spectrum * jax.nn.sigmoid(self.layers[-1](x) + 1), noisy.shape[1])


def stft(x: jax.Array) -> jax.Array:
    """[B, T] -> [B, T / 256 + 1, 257], windows of 32 ms."""
    x = jnp.pad(x, ((0, 0), (HOP, HOP)))
    frames = x.shape[1] // HOP - 1
    blocks = x[:, : (frames + 1) * HOP].reshape(len(x), frames + 1, HOP)
    return jnp.fft.rfft(jnp.concatenate([blocks[:, :-1], blocks[:, 1:]], -1) * _window(), axis=-1)


def istft(spectrum: jax.Array, samples: int) -> jax.Array:
    """The waveform [B, T] of `stft`; windows of both sides sum to one."""
    frames = jnp.fft.irfft(spectrum, axis=-1) * _window()
    first, second = frames[..., :HOP], frames[..., HOP:]
    blocks = jnp.pad(first, ((0, 0), (0, 1), (0, 0))) + jnp.pad(second, ((0, 0), (1, 0), (0, 0)))
    return blocks.reshape(len(frames), -1)[:, HOP : HOP + samples]


def log_magnitude(spectrum: jax.Array) -> jax.Array:
    """Finite, and with a finite gradient, in silence too."""
    return 0.5 * jnp.log(jnp.square(spectrum.real) + jnp.square(spectrum.imag) + 1e-6)


def _window() -> np.ndarray:
    return np.sqrt(np.hanning(WINDOW + 1)[:-1]).astype(np.float32)


def pairs(clips: list[np.ndarray], rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of noisy and clean pieces [8, 2 s]."""
    while True:
        clean = np.zeros((BATCH, SAMPLES), np.float32)
        noisy = np.zeros_like(clean)
        for row in range(BATCH):
            clip = clips[rng.integers(len(clips))]
            start = rng.integers(max(len(clip) - SAMPLES, 0) + 1)
            piece = clip[start : start + SAMPLES]
            clean[row, : len(piece)] = piece
            noisy[row, : len(piece)] = pink_noise(piece, rng.uniform(-5, 10), rng)
        yield noisy, clean


def train(
    model: Model,
    metric: str,
    clips: list[np.ndarray],
    weights: tuple[float, float],
    look: Callable[[int, dict[str, float], Enhance], None],
) -> None:
    """Trains a network by (distance, score) of these weights.

    Args:
        model: The model.
        metric: Score that is raised, or lowered where less is better.
        clips: Of clean speech.
        weights: Of the distance in log magnitude, and of the score divided by its range.
        look: Called at the start and eight times as it goes with the update, means of `loss`, `distance` and `score` of
            the batches since the last time, and the function that enhances [B, T].
    """
    network = Network(rngs=nnx.Rngs(_SEED.value))
    graph, state = nnx.split(network)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    moments = optimizer.init(state)
    about = model.config.metrics[metric]
    scale = about.maximum - about.minimum if math.isfinite(about.maximum - about.minimum) else 1.0
    if metric in CATALOGUE and not CATALOGUE[metric].higher_is_better:
        scale = -scale
    lengths = jnp.full(BATCH, SAMPLES, jnp.int32)

    def loss_of(state: Any, params: Any, noisy: jax.Array, clean: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        enhanced = nnx.merge(graph, state)(noisy)
        distance = jnp.abs(log_magnitude(stft(enhanced)) - log_magnitude(stft(clean))).mean()
        heard = enhanced if weights[1] else jax.lax.stop_gradient(enhanced)
        score = model.apply(heard, lengths, params=params)[metric].mean()
        loss = weights[0] * distance - weights[1] * score / scale
        return loss, {"loss": loss, "distance": distance, "score": score}

    @jax.jit
    def update(state: Any, moments: Any, params: Any, noisy: jax.Array, clean: jax.Array) -> tuple[Any, Any, Any]:
        gradient, seen = jax.grad(loss_of, has_aux=True)(state, params, noisy, clean)
        changes, moments = optimizer.update(gradient, moments, state)
        return optax.apply_updates(state, changes), moments, seen

    enhance = jax.jit(lambda state, noisy: nnx.merge(graph, state)(noisy))
    batches = pairs(clips, np.random.default_rng(_SEED.value))
    looks = {round(_UPDATES.value * part / LOOKS) for part in range(LOOKS + 1)}
    since: list[dict[str, jax.Array]] = []
    for number in range(_UPDATES.value + 1):
        if number in looks:
            means = {name: float(np.mean([one[name] for one in since])) for name in since[0]} if since else {}
            look(number, means, functools.partial(enhance, state))
            since = []
        if number < _UPDATES.value:
            state, moments, seen = update(state, moments, model.params, *next(batches))
            since.append(seen)


def measured(model: Model, metric: str, enhanced: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    """The model's mean score, and the mean of each metric against the clean recording."""
    rows = model.score(list(enhanced), sample_rate=16000, metrics=[metric])
    found = {metric: float(np.mean([row["scores"][metric] for row in rows if row["scores"]]))}
    names = [name for name in METRICS if name in intrusive.available()]
    values = [intrusive.measure(one, other, names) for one, other in zip(enhanced, clean, strict=True)]
    against = {name: [one[name] for one in values if name in one] for name in names}
    return found | {f"true {name}": float(np.mean(each)) for name, each in against.items() if each}


def clips_of(source: str) -> list[np.ndarray]:
    """The recordings that can be read, [T] each.

    Raises:
        UsageError: They are fewer than ten.
    """
    clips = []
    for _, recording in read_inputs([source]):
        try:
            clips.append(load_audio(recording).waveform)
        except AudioError as error:
            print(f"left out: {error}")
    if len(clips) < 10:
        raise app.UsageError(f"--clean {source}: {len(clips)} recordings, at least 10 are needed")
    return clips


def main(_: list[str]) -> None:
    """Trains three times, and prints the table."""
    keep_freed_memory()
    if _HISTORY.value:
        check_writable(_HISTORY.value)
    model = load_model(_MODEL.value)
    metric = _METRIC.value or model.metrics[0]
    if metric not in model.metrics:
        raise app.UsageError(f"--metric {metric}: must be one of {', '.join(model.metrics)}")
    clips = clips_of(_CLEAN.value)
    order = np.random.default_rng(_SEED.value).permutation(len(clips))
    held = max(2, len(clips) // 5)
    test, kept = [clips[i] for i in order[:held]], [clips[i] for i in order[held:]]
    batches = pairs(test, np.random.default_rng(_SEED.value + 1))
    noisy, clean = (np.concatenate(parts) for parts in zip(*(next(batches) for _ in range(4)), strict=True))

    rows = {name: measured(model, metric, one, clean) for name, one in (("clean", clean), ("noisy", noisy))}
    about = {"model": model.name, "metric": metric, "seed": _SEED.value, "recordings": len(clips), **rows}
    history: list[dict[str, Any]] = []
    for kind, weights in KINDS.items():
        print(f"loss: {kind}", flush=True)

        def look(number: int, means: dict[str, float], enhance: Enhance, kind: str = kind) -> None:
            found = rows[f"trained by {kind}"] = measured(model, metric, np.asarray(enhance(noisy)), clean)
            history.append({"loss": kind, "update": number, "training": means, **found})
            print(f"  update {number}: {', '.join(f'{name} {found[name]:.3f}' for name in found)}", flush=True)
            if _HISTORY.value:
                write_json(_HISTORY.value, {**about, "history": history})

        train(model, metric, kept, weights, look)
    names = list(rows["clean"])
    cells = [[name, *(f"{row[one]:.3f}" if one in row else "" for one in names)] for name, row in rows.items()]
    print(markdown_table([("", f"{metric}, by the model", *names[1:]), *cells], text_columns=(0,)))


if __name__ == "__main__":
    app.run(main)
