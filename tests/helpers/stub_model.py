"""A model that computes nothing, for tests of what the commands do with rows."""

from pathlib import Path

from urgentmos_jax.scoring.times import Times


class StubModel:
    """Rows without any computing: the score of `3.wav` is 3/8, and `1.wav` fails.

    Args:
        before: Called before the row of an index.
    """

    metrics = comparative_metrics = ("mos_overall", "utmos")
    sha256 = "12ab"

    def __init__(self, before=lambda index: None):
        self.before, self.times = before, Times()

    def describe(self) -> dict:
        return {"model": "stub", "model_sha256": self.sha256, "precision": "float32"}

    def iter_scores(self, inputs, *, uids, metrics, frames):
        for path, uid in zip(inputs, uids, strict=True):
            index = int(Path(path).stem)
            self.before(index)
            row = {"uid": uid, "path": path, "scores": {name: index / 8 for name in metrics}, "duration_s": 1.0}
            row |= {"windows": 1, "bandwidth_hz": 7812.5, "flags": [], "model": "stub 12ab", "error": None}
            yield row | {"scores": None, "error": {"code": "empty", "message": "é"}} if index == 1 else row

    def score(self, inputs, **_) -> list:
        return []

    def iter_comparisons(self, pairs, *, uids, metrics, order):
        for sides, uid in zip(pairs, uids, strict=True):
            self.before(int(Path(sides[0]).stem))
            values = {
                name: {"cmos": int(Path(sides[0]).stem) / 8, "p_a": 0.5, "p_b": 0.25, "p_tie": 0.25} for name in metrics
            }
            row = {"uid": uid, "paths": list(sides), "comparison": values, "durations_s": [1.0, 1.0]}
            row |= {"windows": 1, "bandwidths_hz": [7812.5, None], "flags": [], "model": "stub 12ab"}
            yield row | {"error": None}
