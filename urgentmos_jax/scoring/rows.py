"""What a row of scores or of comparisons holds, and how it is made of the results of windows."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

import numpy as np

from urgentmos_jax.audio.loading import SAMPLE_RATE_HZ, AudioError
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.statistics.calibration import Calibration
from urgentmos_jax.statistics.training_distribution import TrainingDistribution

Order = Literal["both", "ab"]
# {metric: its calibration}, which acts on the scores and comparisons of all rows here, and in `Model.apply`.
Calibrations = Mapping[str, Calibration]
CALIBRATED, UNLIKE = "calibrated", "unlike_training"  # Flags of rows.


@dataclasses.dataclass
class EncodedWindow:
    """Results of a window.

    Attributes:
        samples: Its length, at 16 kHz.
        scores: {metric: score}.
        frames: {metric: (scores [L], weights [L])}; empty where none were asked for.
        features: {category: [L, D] float32}, of the categories that are compared; empty where none were asked for.
        pooled: [D] mean over frames of the first category's features; None where it was not asked for.
    """

    samples: int
    scores: dict[str, float]
    frames: dict[str, tuple[np.ndarray, np.ndarray]]
    features: dict[str, np.ndarray]
    pooled: np.ndarray | None = None


@dataclasses.dataclass
class Encoded:
    """A recording as the encoders hear it: its length in seconds, the flags of its row, its windows in order; and the
    bandwidth of its file."""

    duration_s: float
    flags: list[str]
    windows: list[EncodedWindow]
    bandwidth_hz: float | None = None


@dataclasses.dataclass
class WindowComparison:
    """A window of A against the window of B at the same place.

    Attributes:
        samples: Of both together.
        values: {metric: (cmos [], probabilities [3], logits [3]) of f(A, B), then of f(B, A)}.
    """

    samples: int
    values: dict[str, tuple[np.ndarray, ...]]


class RowError(TypedDict):
    """Why there is no result: a code of `AudioError`, and its message."""

    code: str
    message: str


class FrameScores(TypedDict):
    """Score of each frame [L] in order of time, and its weight in the score of the recording [L].

    The weights sum to 1; to less where a model hears padding too (Distill-MOS, clips under 7.68 s), whose frames are
    left out.
    """

    scores: list[float]
    weights: list[float]


class WorstSecond(TypedDict):
    """Where the second begins whose frames have the worst mean score, in seconds, and that mean."""

    start_s: float
    score: float


class ScoreRow(TypedDict):
    """Scores of a recording. One that cannot be scored has `scores` None and `error`.

    `bandwidth_hz` is that of the file, None of silence; `model` the name of the model and the first twelve digits of
    the SHA-256 of its weights, None of a model that was not loaded from files.
    """

    uid: str
    path: str | None
    scores: dict[str, float] | None
    duration_s: float | None
    windows: int
    bandwidth_hz: float | None
    flags: list[str]
    model: str | None
    error: RowError | None
    frames: NotRequired[dict[str, FrameScores]]
    frame_rate_hz: NotRequired[float]
    worst_second: NotRequired[dict[str, WorstSecond]]


class Comparison(TypedDict):
    """How much better A is than B.

    CMOS, positive = A better; probabilities that A is better, B is better, of a tie; the score of A less that of B.
    """

    cmos: float
    p_a: float
    p_b: float
    p_tie: float
    score_difference: float
    logits: NotRequired[list[float]]


class ComparisonRow(TypedDict):
    """A comparison of two recordings. A pair that cannot be compared has `comparison` None and `error`."""

    uid: str
    paths: list[str | None]
    comparison: dict[str, Comparison] | None
    durations_s: list[float] | None
    windows: int
    bandwidths_hz: list[float | None] | None
    flags: list[str]
    model: str | None
    error: RowError | None


@dataclasses.dataclass(frozen=True)
class Scored:
    """The row of the recording of this index."""

    index: int
    row: ScoreRow


@dataclasses.dataclass(frozen=True)
class Compared:
    """The row of the pair of this index."""

    index: int
    row: ComparisonRow


def score_row(
    uid: str,
    path: str | None,
    recording: Encoded | AudioError,
    metrics: Sequence[str],
    *,
    calibrations: Mapping[str, Calibration] = {},
    frame_rate_hz: float | None = None,
) -> ScoreRow:
    """Makes the row of a recording; scores of windows are averaged by length.

    Args:
        uid, path: Of the recording; `path` None for an array.
        recording: Its windows, or why there are none.
        metrics: Those the row shall have.
        calibrations: Of the model.
        frame_rate_hz: Of the frames of the windows, which the row then has.
    """
    if isinstance(recording, AudioError):
        return ScoreRow(
            uid=uid,
            path=path,
            scores=None,
            duration_s=None,
            windows=0,
            bandwidth_hz=None,
            flags=[],
            model=None,
            error=row_error(recording),
        )
    windows, weights = recording.windows, _shares([window.samples for window in recording.windows])
    row = ScoreRow(
        uid=uid,
        path=path,
        scores={name: _score(recording, name, calibrations) for name in metrics},
        duration_s=recording.duration_s,
        windows=len(windows),
        bandwidth_hz=recording.bandwidth_hz,
        flags=recording.flags + _flag(metrics, calibrations),
        model=None,
        error=None,
    )
    if frame_rate_hz is not None:
        row["frame_rate_hz"] = frame_rate_hz
        row["frames"] = {
            name: FrameScores(
                scores=_mapped(
                    np.concatenate([window.frames[name][0] for window in windows]), name, calibrations
                ).tolist(),
                weights=np.concatenate(
                    [w * window.frames[name][1] for w, window in zip(weights, windows, strict=True)]
                ).tolist(),
            )
            for name in metrics
        }
        row["worst_second"] = {name: _worst_second(windows, name, frame_rate_hz, calibrations) for name in metrics}
    return row


def comparison_row(
    uid: str,
    paths: list[str | None],
    sides: Sequence[Encoded | AudioError],
    windows: Sequence[WindowComparison],
    metrics: Sequence[str],
    order: Order,
    calibrations: Mapping[str, Calibration] = {},
) -> ComparisonRow:
    """Makes the row of a pair; comparisons of windows are averaged by the length of both.

    Args:
        uid, paths: Of the pair.
        sides: A and B.
        windows: Comparison of each place where both sides have a window; none where a side failed.
        metrics: Those the row shall have.
        order: See `Model.compare`.
        calibrations: Of the model.
    """
    failed = [side for side in sides if isinstance(side, AudioError)]
    if failed:
        return ComparisonRow(
            uid=uid,
            paths=paths,
            comparison=None,
            durations_s=None,
            windows=0,
            bandwidths_hz=None,
            flags=[],
            model=None,
            error=row_error(failed[0]),
        )
    a, b = (side for side in sides if isinstance(side, Encoded))
    flags = [f"{name}_{flag}" for name, side in (("a", a), ("b", b)) for flag in side.flags]
    if len(a.windows) != len(b.windows):
        flags.append("excess_left_out")
    flags += _flag(metrics, calibrations)
    weights = _shares([window.samples for window in windows])
    return ComparisonRow(
        uid=uid,
        paths=paths,
        comparison={
            name: _combined(
                weights,
                [window.values[name] for window in windows],
                order,
                _score(a, name, calibrations) - _score(b, name, calibrations),
                calibrations.get(name),
            )
            for name in metrics
        },
        durations_s=[a.duration_s, b.duration_s],
        windows=len(windows),
        bandwidths_hz=[a.bandwidth_hz, b.bandwidth_hz],
        flags=flags,
        model=None,
        error=None,
    )


def failure(row: ScoreRow | ComparisonRow) -> str:
    """Why a row without a result has none."""
    return row["error"]["message"] if row["error"] else ""


def row_error(error: AudioError) -> RowError:
    """An error as rows have it."""
    return {"code": error.code, "message": error.message}


def _shares(samples: Sequence[int]) -> np.ndarray:
    weights = np.array(samples, np.float64)
    return weights / weights.sum()


def _flag(metrics: Sequence[str], calibrations: Calibrations) -> list[str]:
    return [CALIBRATED] if any(name in calibrations for name in metrics) else []


def _worst_second(
    windows: Sequence[EncodedWindow], metric: str, frame_rate_hz: float, calibrations: Calibrations
) -> WorstSecond:
    """Of all seconds that lie within a window; of a recording under a second, the whole."""
    sign = 1.0 if metric not in CATALOGUE or CATALOGUE[metric].higher_is_better else -1.0
    scores = [_mapped(window.frames[metric][0].astype(np.float64), metric, calibrations) for window in windows]
    size = min(round(frame_rate_hz), max(map(len, scores)))
    found, start_s = [], 0.0
    for window, values in zip(windows, scores, strict=True):
        if len(values) >= size:
            sums = np.concatenate([[0.0], np.cumsum(values)])
            means = (sums[size:] - sums[:-size]) / size
            place = int(np.argmin(sign * means))
            found.append(WorstSecond(start_s=start_s + place / frame_rate_hz, score=float(means[place])))
        start_s += window.samples / SAMPLE_RATE_HZ
    return min(found, key=lambda second: sign * second["score"])


def unlike_flag(windows: Sequence[EncodedWindow], distribution: TrainingDistribution | None) -> list[str]:
    """`unlike_training`, where a recording of these windows is beyond the distribution of training clips."""
    return [UNLIKE] if distribution is not None and distribution.distance(pooled(windows)) > 1 else []


def pooled(windows: Sequence[EncodedWindow]) -> np.ndarray:
    """[D] features of a recording: the mean over its windows by length."""
    means = [window.pooled for window in windows if window.pooled is not None]
    return np.average(means, axis=0, weights=[window.samples for window in windows])


def _score(recording: Encoded, metric: str, calibrations: Calibrations) -> float:
    """Of the whole recording: the mean over its windows by length."""
    weights = _shares([window.samples for window in recording.windows])
    mean = sum(w * window.scores[metric] for w, window in zip(weights, recording.windows, strict=True))
    return float(_mapped(np.float64(mean), metric, calibrations))


def _mapped(scores: np.ndarray | np.float64, metric: str, calibrations: Calibrations) -> np.ndarray:
    return np.asarray(calibrations[metric].score(scores) if metric in calibrations else scores)


def _combined(
    weights: np.ndarray,
    windows: Sequence[tuple[np.ndarray, ...]],
    order: Order,
    score_difference: float,
    calibration: Calibration | None,
) -> Comparison:
    """Windows of a pair -> one comparison."""
    parts = [np.asarray(part, np.float64) for part in zip(*windows, strict=True)]
    cmos_ab, p_ab, logits_ab, cmos_ba, p_ba, _ = (np.tensordot(weights, part, 1) for part in parts)
    if order == "ab":
        cmos, (a, b, tie) = cmos_ab, p_ab
    else:
        cmos, (a, b, tie) = (cmos_ab - cmos_ba) / 2, (p_ab + p_ba[[1, 0, 2]]) / 2
    if calibration is not None:
        cmos = calibration.compare(cmos, score_difference)
        a, b, tie = calibration.probabilities(cmos, [a, b, tie])
    found = Comparison(
        cmos=float(cmos), p_a=float(a), p_b=float(b), p_tie=float(tie), score_difference=score_difference
    )
    if order == "ab":
        found["logits"] = logits_ab.tolist()
    return found
