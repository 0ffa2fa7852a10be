"""VMC 2026, track 1: each recording encoded once, and predictions that stay in their range."""

from pathlib import Path

import pytest

from tests.helpers.counting import count_encoded
from tests.helpers.vmc2026 import SECONDS, TOLERANCE, build, expected_predictions, sounds
from urgentmos_jax.challenges import vmc2026 as submission
from urgentmos_jax.challenges.vmc2026 import ACR, CCR, Item, predict, read_items
from urgentmos_jax.scoring.loading import load_model
from urgentmos_jax.scoring.rows import Compared, Scored


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return build(tmp_path_factory.mktemp("dataset"), *sounds())


@pytest.fixture(scope="module")
def expected(model_folder) -> dict[str, dict[str, float]]:
    return expected_predictions(load_model(model_folder, compile_cache=False))


@pytest.mark.slow
@pytest.mark.parametrize("max_feature_bytes", [1 << 30, 10_000, 0])
def test_each_recording_is_encoded_once(source, expected, model_folder, tmp_path, max_feature_bytes):
    model = load_model(model_folder, compile_cache=False)
    encoded = count_encoded(model)
    predictions = predict(model, read_items(source, tmp_path), scratch=tmp_path, max_feature_bytes=max_feature_bytes)
    assert sorted(encoded) == sorted(round(seconds * 16000) for seconds in SECONDS)
    assert {one.item.sample_id: one.value for one in predictions} == pytest.approx(expected["both"], abs=TOLERANCE)
    # Features that lay on disk are gone.
    assert len(list(tmp_path.iterdir())) == len(SECONDS)


class Judge:
    """A model that says what it is told to."""

    def __init__(self, scores: list[float], cmos: list[float]):
        self.scores, self.cmos = iter(scores), iter(cmos)

    def assess(self, paths, pairs, **options):
        for index, score in enumerate(self.scores):
            yield Scored(index, {"scores": {"mos_overall": score}, "error": None})
        for index, (cmos, _) in enumerate(zip(self.cmos, pairs, strict=False)):
            yield Compared(index, {"comparison": {"mos_overall": {"cmos": cmos}}, "error": None})


def test_predictions_stay_in_their_range(tmp_path):
    items = [Item(f"a{n}", ACR, (f"{n}",)) for n in range(5)]
    items += [Item(f"c{n}", CCR, (f"{n}", f"{(n + 1) % 5}")) for n in range(5)]
    judge = Judge([0.2, 7.0, 3.14156, 5.0, float("nan")], [-3.5, 9.0, -0.00001, 2.99996, float("nan")])
    predictions = predict(judge, items, scratch=tmp_path)
    mean = (1 + 5 + 3.1416 + 5) / 4
    # The pairs are ready in the order of their later recording: c0 (1), c1 (2), c2 (3), c3 and c4 (4).
    values = [1.0, 5.0, 3.1416, 5.0, round(mean, 4), -3.0, 3.0, 0.0, 3.0, 0.0]
    assert [one.value for one in predictions] == values
    assert [one.clamped for one in predictions] == [True, True, False, False, False, True, True, False, False, False]
    assert [one.error for one in predictions if one.error] == ["the model says nan"] * 2
    submission.write(tmp_path / "p.csv", predictions)
    wanted = ["1.0000", "5.0000", "3.1416", "5.0000", f"{mean:.4f}", "-3.0000", "3.0000", "0.0000", "3.0000", "0.0000"]
    lines = (tmp_path / "p.csv").read_text().split("\n")
    assert lines[0] == "sample_id,pred_score" and lines[-1] == ""
    assert [line.partition(",")[2] for line in lines[1:-1]] == wanted
    # Nobody can be judged.
    (only, _) = predict(Judge([float("inf")], [0.0]), [items[0], Item("c", CCR, ("0", None))], scratch=tmp_path)
    assert only.value == 3.0
