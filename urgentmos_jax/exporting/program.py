"""The scores of a model as one function of arrays, which `stablehlo` and `onnx` write; the check of what they wrote."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, AudioError, load_audio
from urgentmos_jax.scoring.model import Model

TOLERANCE = 1e-4
# Recordings that are compared, and rows of a batch of them.
_MAX_RECORDINGS, _ROWS = 32, 4
# Seconds of the signals that are scored where no recordings are given.
_MADE = (0.5, 1.7, 4.0)


class ExportError(ValueError):
    """A model cannot be exported so, or what was exported gives other scores; the message says what to do."""


@dataclass(frozen=True)
class Program:
    """What is exported.

    Attributes:
        function: (waveform [B, T] float32 at 16 kHz, lengths [B] int32) -> scores [B] in the order of `metrics`.
        metrics: Names of the scores.
        inputs: Shapes of both: any B, and any T from `shortest` to `longest`, or one T.
        shortest, longest: Samples of a row.
    """

    function: Callable[..., tuple[jax.Array, ...]]
    metrics: tuple[str, ...]
    inputs: tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]
    shortest: int
    longest: int

    def about(self) -> dict[str, Any]:
        """What a user of the file has to know."""
        batch, samples = (str(size) for size in self.inputs[0].shape)
        return {
            "inputs": {"waveform": f"float32 [{batch}, {samples}]", "lengths": f"int32 [{batch}]"},
            "outputs": list(self.metrics),
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "min_samples": self.shortest,
            "max_samples": self.longest,
        }


def program_of(model: Model, seconds: float | None = None) -> Program:
    """The scores of a model, its weights within; in float16 where nothing is lost by that.

    Args:
        model: In float32.
        seconds: Length of every row, to which shorter recordings are padded; None: rows may have any length.

    Raises:
        ExportError: The encoders are in bfloat16; or an encoder computes on rows of a stated length only.
    """
    if model.engine.precision != "float32":
        raise ExportError("the encoders are in bfloat16; load the model in float32 to export it")
    shortest, longest = model.min_samples, model.engine.window_samples
    params = jax.tree.map(_stored, jax.device_get(model.params))

    def function(waveform: jax.Array, lengths: jax.Array) -> tuple[jax.Array, ...]:
        found = model.apply(waveform, lengths, params=jax.tree.map(_single, params))
        return tuple(found[name] for name in model.metrics)

    if seconds is not None:
        low, high = shortest / SAMPLE_RATE_HZ, longest / SAMPLE_RATE_HZ
        if not low <= seconds <= high:
            raise ExportError(f"rows of {seconds:g} s: this model takes {low:g} to {high:g} s")
        samples = round(seconds * SAMPLE_RATE_HZ)
        (batch,) = jax.export.symbolic_shape("b")
        return Program(function, model.metrics, _shapes(batch, samples), shortest, samples)
    bounds = [f"t >= {shortest}", f"t <= {longest}"]
    program = Program(
        function, model.metrics, _shapes(*jax.export.symbolic_shape("b, t", constraints=bounds)), shortest, longest
    )
    try:
        jax.eval_shape(function, *program.inputs)
    except Exception as error:  # Of many kinds, as an encoder asks for a number in one way or another.
        kinds = ", ".join(sorted({one.architecture.model_type for one in model.config.encoders}))
        text = f"{kinds}: rows of any length cannot be exported ({type(error).__name__}); give the length of the rows"
        raise ExportError(f"{text}: --seconds {min(10, longest // SAMPLE_RATE_HZ)}") from error
    return program


def check_program(
    model: Model,
    program: Program,
    run: Callable[[np.ndarray, np.ndarray], Sequence[np.ndarray]],
    sources: Iterable[Any],
) -> tuple[int, float]:
    """Compares what an exported program gives with what the model does.

    Args:
        model: The model.
        program: What was exported.
        run: The exported program on arrays.
        sources: Recordings, the first 32 of them, of which the first window is taken; none: generated signals. They are
            computed in batches, and the shortest alone too.

    Returns:
        How many recordings were compared, and the largest difference of a score.

    Raises:
        ExportError: No recording can be read, or the difference is over 1e-4.
    """
    clips, faults = [], []
    for source in itertools.islice(sources, _MAX_RECORDINGS):
        try:
            clips.append(load_audio(source, min_samples=program.shortest).waveform[: program.longest])
        except AudioError as error:
            faults.append(str(error))
    if not clips and faults:
        raise ExportError(f"no recording to compare on: {faults[0]}")
    clips = sorted(clips or [clip[: program.longest] for clip in _made()], key=len)
    wanted = [row["scores"] or {} for row in model.score(clips, sample_rate=SAMPLE_RATE_HZ)]
    any_length = jax.export.is_symbolic_dim(program.inputs[0].shape[1])
    size = len(clips[-1]) if any_length else program.longest
    rows = np.zeros((len(clips), size), np.float32)
    for row, clip in zip(rows, clips, strict=True):
        row[: len(clip)] = clip
    lengths = np.array([len(clip) for clip in clips], np.int32)
    found = [run(rows[:1, : lengths[0] if any_length else size], lengths[:1])]
    found += [run(rows[at : at + _ROWS], lengths[at : at + _ROWS]) for at in range(0, len(clips), _ROWS)]
    scores = np.concatenate([np.stack(part, axis=1) for part in found])
    expected = np.array([[one[name] for name in program.metrics] for one in [wanted[0], *wanted]])
    difference = float(np.abs(scores - expected).max())
    if not difference <= TOLERANCE:
        text = f"the exported scores differ from the model's by {difference:.2g}, {TOLERANCE:g} at most are allowed"
        raise ExportError(f"{text}; nothing is written")
    return len(clips), difference


def _shapes(batch: Any, samples: Any) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    return jax.ShapeDtypeStruct((batch, samples), jnp.float32), jax.ShapeDtypeStruct((batch,), jnp.int32)


def _stored(weights: Any) -> np.ndarray:
    """Weights of a model that was saved in float16 are that still."""
    array = np.asarray(weights)
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), array) else array


def _single(weights: np.ndarray) -> jax.Array:
    """In float32, by an operation of the program; numpy would convert what the program holds."""
    return jax.lax.convert_element_type(jnp.asarray(weights), jnp.float32)


def _made() -> list[np.ndarray]:
    """Tones under an envelope, with noise."""
    rng = np.random.default_rng(0)
    clips = []
    for seconds in _MADE:
        time = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        tone = sum(np.sin(2 * np.pi * k * 140 * time + k) / k for k in range(1, 12)) * (
            1 + np.sin(2 * np.pi * 3 * time)
        )
        clips.append((0.1 * tone + 0.02 * rng.standard_normal(len(time))).astype(np.float32))
    return clips
