"""A small copy of the challenge's dataset: recordings, scores, comparisons."""

import csv
import io
from pathlib import Path

import pytest
import soundfile

from tests.helpers.corpus import speech_like
from urgentmos_jax.scoring.model import Model

datasets = pytest.importorskip("datasets")

SECONDS = (0.72, 0.61, 0.7, 0.66, 0.58)
TOLERANCE = 5e-5 + 1e-5  # Four decimals, and what batches of another size do.
# Recordings by number: of these scores, and these comparisons; 3 is in no pair, 4 in pairs alone.
SCORED = {"s0": 0, "s1": 1, "s2": 2, "s3": 3, "s0 again": 0}
COMPARED = {"p40": (4, 0), "p01": (0, 1), "p10": (1, 0), "p12": (1, 2), "p22": (2, 2), "p24": (2, 4)}


def recording(number: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, speech_like(number, round(SECONDS[number] * 16000)), 16000, format="WAV")
    return file.getvalue()


def parquet(path: Path, columns: dict[str, list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = datasets.Dataset.from_dict(
        {
            name: values if name == "sample_id" else [value and {"bytes": value, "path": None} for value in values]
            for name, values in columns.items()
        }
    )
    for name in columns.keys() - {"sample_id"}:
        made = made.cast_column(name, datasets.Audio(decode=False))
    made.to_parquet(str(path))


def build(root: Path, scored: dict[str, bytes | None], compared: dict[str, tuple], *, named: bool = False) -> Path:
    """Both parts, `acr` in two shards; `named`: README.md names the configurations, files lie elsewhere."""
    acr, ccr = (root / "data" / "x", root / "data" / "y") if named else (root / "acr", root / "ccr")
    ids, half = list(scored), len(scored) // 2
    for shard, part in enumerate((ids[:half], ids[half:])):
        parquet(acr / f"test-0000{shard}-of-00002.parquet", {"sample_id": part, "audio": [scored[i] for i in part]})
    a, b = zip(*compared.values(), strict=True)
    parquet(ccr / "test-00000-of-00001.parquet", {"sample_id": list(compared), "audio_a": a, "audio_b": b})
    if named:
        parts = "".join(
            f"- config_name: {name}\n  data_files:\n  - split: test\n    path: data/{folder}/*\n"
            for name, folder in (("acr", "x"), ("ccr", "y"))
        )
        (root / "README.md").write_text(f"---\nconfigs:\n{parts}---\n")
    return root


def sounds() -> tuple[dict[str, bytes], dict[str, tuple]]:
    made = [recording(number) for number in range(len(SECONDS))]
    compared = {name: tuple(made[side] for side in pair) for name, pair in COMPARED.items()}
    return {name: made[number] for name, number in SCORED.items()}, compared


def read(path: Path) -> dict[str, float]:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["sample_id", "pred_score"]
    assert all(len(text.partition(".")[2]) == 4 for _, text in rows)
    assert len({name for name, _ in rows}) == len(rows)
    return {name: float(text) for name, text in rows}


def expected_predictions(model: Model) -> dict[str, dict[str, float]]:
    """{order: {sample_id: prediction}} by the interface of Python, on arrays."""
    clips = [soundfile.read(io.BytesIO(recording(number)), dtype="float32")[0] for number in range(len(SECONDS))]
    alone = [row["scores"]["mos_overall"] for row in model.score(clips, sample_rate=16000)]
    found = {}
    for order in ("both", "ab"):
        rows = model.compare([(clips[a], clips[b]) for a, b in COMPARED.values()], sample_rate=16000, order=order)
        pairs = [row["comparison"]["mos_overall"]["cmos"] for row in rows]
        scored = {name: alone[number] for name, number in SCORED.items()}
        found[order] = scored | dict(zip(COMPARED, pairs, strict=True))
    return found
