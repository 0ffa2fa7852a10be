"""The benchmark runs, and prints what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from launch.benchmark import distill_mos, evaluate, gpu, growth, memory, rows, runtimes, serve, serve_faults, slices
from launch.benchmark.batches import training_flops
from launch.benchmark.measuring import in_rounds
from launch.benchmark.models import published_config
from launch.benchmark.settings import Settings
from launch.benchmark.torch_reference.distill_mos import weights_file
from launch.benchmark.trainings import without_dropout
from urgentmos_jax.accelerators.plan import Plan
from urgentmos_jax.accelerators.work import Work
from urgentmos_jax.data.batching import BatchArrays
from urgentmos_jax.model.cost import clip_flops
from urgentmos_jax.weights.model_folder import load_folder
from urgentmos_jax.weights.published import PUBLISHED_ENCODERS

ROOT = Path(__file__).parents[2]
CASE = ROOT / "tests" / "golden" / "model" / "c1m5-mean-base"
WANTED = {
    "score": {"ours_audio_seconds_a_second", "padding_efficiency", "peak_memory_mb", "useful_share_of_matmul_rate"},
    "first": {"first_score_seconds_empty_cache", "first_score_seconds_filled_cache"},
    "train": {
        "loading_audio_seconds_a_second",
        "padding_efficiency_two_sided",
        "shapes",
        "planned_corpus_padding_efficiency_one_sided",
        "planned_corpus_padding_efficiency_two_sided",
        "planned_reference_padding_efficiency_two_sided",
        "planned_reference_shapes",
        "peak_memory_mb",
        "compile_seconds",
        "compile_seconds_a_shape",
        "ours_audio_seconds_a_second",
        "ours_seconds_a_step",
        "matmul_gflops",
        "useful_share_of_matmul_rate",
    },
    "prepare": {"prepare_seconds", "clips_a_second", "peak_memory_mb", "peak_memory_mb_60_times_as_long"},
    "evaluate-model": {"clips_seconds", "clips_and_pairs_seconds", "clips_and_pairs_over_clips", "pairs"},
    "step": {
        "ours_seconds_a_step",
        "ours_stored_seconds_a_step",
        "ours_over_stored",
        "checkpoint_seconds",
        "checkpoint_holds_up_seconds",
        "checksums_share_of_checkpoint",
    },
}


def program(tmp_path: Path, *arguments: str) -> dict:
    """Figures of a run, each of which is printed too."""
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "launch.benchmark", *arguments, f"--json={file}"]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    }
    run = {"env": environment, "cwd": ROOT, "capture_output": True, "text": True, "timeout": 300}
    out = subprocess.run(command, check=True, **run).stdout
    figures = json.loads(file.read_text())
    assert all(name in out for name in figures)
    return figures


@pytest.mark.slow
@pytest.mark.parametrize(
    "what", ["score", "first", "train", pytest.param("step", marks=pytest.mark.long), "evaluate-model"]
)
def test_figures(tmp_path, model_folder, what: str):
    figures = program(tmp_path, what, f"--model={model_folder}", "--clips=6", "--rounds=1")
    assert all(np.isfinite(v) and v > 0 for v in figures.values() if isinstance(v, (int, float)))
    assert WANTED[what] <= figures.keys()
    if what in ("score", "train"):
        assert figures["clips"] == 6
        assert all(0.3 < value <= 1 for name, value in figures.items() if "padding_efficiency" in name)


@pytest.mark.slow
def test_memory_of_preparing_does_not_grow_with_audio(tmp_path):
    figures = program(tmp_path, "prepare", "--clips=300")
    assert WANTED["prepare"] <= figures.keys() and figures["clips"] == 300
    assert figures["peak_memory_mb_60_times_as_long"] < 1.1 * figures["peak_memory_mb"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "cases", [((60, 4, 12), (300, 1, 3)), pytest.param(((120, 20, 60), (1200, 2, 5)), marks=pytest.mark.long)]
)
def test_memory_follows_neither_the_number_nor_the_length_of_recordings(tmp_path, monkeypatch, cases):
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    figures = memory.measure(Settings(scratch=tmp_path), cases=cases)
    ratios = [value for name, value in figures.items() if "over" in name]
    assert len(ratios) == 4 and max(ratios) <= 1.3, figures


@pytest.mark.slow
def test_growth(tmp_path, capsys):
    points = {"clips": (2, 8), "clip_seconds": (1, 4), "batch_seconds": (8, 16, 32), "devices": (1, 2)}
    told = []
    settings = Settings(
        scratch=tmp_path, rounds=1, plots=tmp_path / "plots", partial=lambda found: told.append(len(found))
    )
    figures = growth.measure(settings, points=points)
    assert all(
        figures[name] == list(values) and len(figures[f"{name}_took"]) == len(values) for name, values in points.items()
    )
    # Rows of a batch are independent: memory is their number times one's.
    assert figures["memory_off_a_line"] < 0.05
    assert len(figures["devices_memory_mb"]) == 2 and min(figures["devices_memory_mb"]) > 0
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {f"{name}.svg" for name in points}
    assert told == sorted(told) and len(told) == 4 and "batch_seconds 32" in capsys.readouterr().err


@pytest.mark.long
def test_time_and_memory_of_many_rows(tmp_path):
    figures = rows.measure(Settings(scratch=tmp_path, plots=tmp_path / "plots"), rows=(400, 1200))
    assert figures["rows"] == [400, 1200] and figures["cpu_seconds"][0] < figures["cpu_seconds"][1]
    assert max(figures["peak_memory_mb"]) < 1.3 * min(figures["peak_memory_mb"])
    assert (tmp_path / "plots" / "rows.svg").is_file()


def test_exponents_and_lines():
    assert growth.slope((1, 2, 4), (3, 12, 48)) == pytest.approx(2)
    assert growth.off_a_line((1, 2, 4), (3, 5, 9)) == pytest.approx(0, abs=1e-12)
    assert growth.off_a_line((1, 2, 3), (0, 3, 0)) == pytest.approx(2 / 3)


def test_rounds_are_told_and_end_with_the_time(tmp_path, capsys):
    told = []
    settings = Settings(scratch=tmp_path, rounds=5, minutes=0.0, partial=told.append)
    (found,) = in_rounds({"ours": lambda: 7}, settings)
    assert found[1] == {"ours": 7} and found[0]["ours"] >= 0
    assert told[0]["rounds"] == 1 and "ours" in told[0]["median_seconds"]
    assert "round 1 of 5: ours" in capsys.readouterr().err
    assert len(list(in_rounds({"ours": lambda: 7}, Settings(scratch=tmp_path, rounds=5)))) == 5


@pytest.mark.slow
@pytest.mark.long
def test_gpu_on_a_cpu(tmp_path, model_folder):
    figures = gpu.measure(Settings(scratch=tmp_path, model=model_folder, clips=3, rounds=1, batch_seconds=10.0))
    assert figures["gpu"] is False and figures["F1C1M5_score_float32_largest_difference"] <= 1e-3
    for name in gpu.PRECISIONS:
        for part in ("score", "train"):
            assert figures[f"F1C1M5_{part}_{name}_audio_seconds_a_second"] > 0
            assert (
                figures[f"F1C1M5_{part}_{name}_memory_mb"] > 0
                and figures[f"F1C1M5_{part}_{name}_share_of_matmul_rate"] > 0
            )
    assert figures["attention_largest_difference"] < 0.05 and figures["attention_fused_ms"] > 0


def test_a_table_of_slices_is_made_of_what_was_compiled(tmp_path, monkeypatch):
    plans = []

    def plan_run(run, where, which, *, options):
        plans.append((str(where), run.remat))
        memory = 10e9 if run.remat else 40e9
        shape = ({"data": where.chips, "model": 1}, "512 pairs of 2 x 5 s, the largest", 5120.0, memory, 16e9)
        return Plan(
            str(where), where.chips, *shape, {}, {"all-reduce": (4, 28_000_000)}, (), Work(4e14, 4e14, 1e12), 1.0, "0"
        )

    monkeypatch.setattr(slices, "plan_run", plan_run)
    monkeypatch.setattr(slices, "TOPOLOGIES", ("v5e:2x2", "v5e:4x4"))
    monkeypatch.setattr(slices, "RUNS", slices.RUNS[:1])
    settings = Settings(scratch=tmp_path, cache=tmp_path / "cache")
    table = slices.measure(settings)["rows"]
    # What does not fit the smaller slice is not tried on the larger one of the same chips.
    assert plans == [("v5e:2x2", False), ("v5e:2x2", True), ("v5e:4x4", True)]
    assert [row.split(" | ")[6] for row in table] == ["no", "yes", "yes"]
    assert slices.measure(settings)["rows"] == table and len(plans) == 3
    assert slices.measure(Settings(scratch=tmp_path, cache=tmp_path / "new", minutes=0.0))["missing"] == [
        "F1C1M5 on v5e:2x2",
        "F1C1M5 on v5e:4x4",
    ]
    with pytest.raises(SystemExit, match="give --cache DIR"):
        slices.measure(Settings(scratch=tmp_path))


@pytest.mark.slow
def test_the_service_under_load(tmp_path):
    pytest.importorskip("uvicorn")
    figures = serve.measure(Settings(scratch=tmp_path, rounds=1), seconds=3, rate=20, clients=4)
    assert figures["requests"] == 60 and figures["p50_ms"] <= figures["p99_ms"]
    assert figures["batched_over_one_by_one"] > 0 and figures["batched_requests_a_second"] > 0


@pytest.mark.slow
def test_the_service_among_bad_clients(tmp_path):
    pytest.importorskip("uvicorn")
    figures = serve_faults.measure(Settings(scratch=tmp_path), clients=16, bad_requests=400)
    answered = {name: count for name, count in figures.items() if name.startswith("bad_")}
    answered.pop("bad_requests_told_to_come_again", None)
    assert sum(answered.values()) == 400 and answered["bad_requests_refused_400"] > 0
    assert figures["good_requests_answered"] > 0 and figures["requests_cut_off"] > 0
    assert len(figures["memory_mb_by_tenths"]) == 10


@pytest.mark.torch
def test_score_against_torch(tmp_path):
    figures = program(tmp_path, "score", "--clips=2", "--rounds=1", "--against=torch")
    assert figures["largest_difference"] < 1e-4
    assert figures["ours_over_torch_batches"] > 0 and figures["ours_over_torch_single"] > 0


def assert_rates(figures: dict, names: list[str]) -> None:
    for name in names:
        for kind in ("batches", "single"):
            assert figures[f"{name}_{kind}_audio_seconds_a_second"] > 0
            assert name == "ours" or figures[f"ours_over_{name}_{kind}"] > 0


@pytest.mark.slow
def test_runtimes(tmp_path, model_folder):
    pytest.importorskip("onnxruntime")
    settings = Settings(scratch=tmp_path, model=model_folder, clips=10, rounds=1)
    figures = runtimes.measure(settings)
    assert figures["rows"] == 8 and figures["largest_difference"] < 1e-4
    assert_rates(figures, ["ours", "onnxruntime"])


@pytest.mark.torch
@pytest.mark.long
def test_runtimes_against_torch(tmp_path, model_folder):
    pytest.importorskip("onnxruntime")
    weights = [f"--model={model_folder}", f"--checkpoint={CASE / 'model.pt'}", f"--encoder={CASE / 'encoder'}"]
    figures = program(tmp_path, "runtimes", "--clips=10", "--rounds=1", "--against=torch", *weights)
    assert figures["rows"] == 8 and figures["largest_difference"] < 1e-4
    assert_rates(figures, ["ours", "onnxruntime", "torch", "torch_compiled"])


@pytest.mark.torch
def test_train_against_torch(tmp_path, model_folder):
    weights = [f"--model={model_folder}", f"--checkpoint={CASE / 'model.pt'}", f"--encoder={CASE / 'encoder'}"]
    figures = program(tmp_path, "train", "--clips=3", "--rounds=1", "--against=torch", *weights)
    assert figures["loss_difference"] < 1e-4 and figures["gradient_norm_difference"] < 1e-3
    assert figures["ours_over_torch"] > 0 and figures["torch_audio_seconds_a_second"] > 0


@pytest.mark.torch
def test_distill_mos_against_its_package(tmp_path):
    try:
        weights_file()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    figures = program(tmp_path, "distill-mos", "--clips=2", "--rounds=1")
    assert figures["clips"] == 2 and 0 <= figures["largest_difference"] < 1e-4
    assert figures["ours_over_package"] == pytest.approx(
        figures["ours_audio_seconds_a_second"] / figures["package_audio_seconds_a_second"]
    )


def test_distill_mos_says_how_to_get_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"distillmos, xls_r_sqa missing: .*pip install --no-deps distillmos"):
        distill_mos.measure(Settings(scratch=tmp_path))


@pytest.mark.torch
def test_only_like_things_are_compared(model_folder):
    import torch

    from launch.benchmark.trainings import Theirs, agreement

    rng = np.random.default_rng(0)
    batch = BatchArrays(
        waveform=rng.normal(0, 0.1, (3, 2, 16000)).astype(np.float32),
        states={},
        lengths=np.array([[16000, 9000], [12345, 12000], [0, 0]], np.int32),
        labels=rng.uniform(1, 5, (3, 2, 5)).astype(np.float32),
        label_mask=rng.random((3, 2, 5)) < 0.7,
        cmos=np.array([[1.5], [-0.2], [0]], np.float32),
        cmos_mask=np.array([[True], [True], [False]]),
    )
    batch.label_mask[2] = False
    module, theirs = load_folder(model_folder)[0], Theirs(CASE / "model.pt", CASE / "encoder")
    assert max(agreement(module, theirs, batch).values()) < 1e-4
    with torch.no_grad():
        theirs._parameters[-1].add_(0.1)
    with pytest.raises(SystemExit, match="losses differ"):
        agreement(module, theirs, batch)


def test_nothing_is_dropped_out_without_dropout():
    config = without_dropout(published_config())
    assert config.category.dropout == 0 and "dropout=0.1" not in repr(config)
    assert config.categories == published_config().categories and config.encoders == published_config().encoders


@pytest.mark.parametrize(
    ("architecture", "seconds", "gflop"),
    [
        ("microsoft/wavlm-base-plus", 1, 13.8),
        ("microsoft/wavlm-base-plus", 30, 500.3),
        ("microsoft/wavlm-large", 10, 384.0),
    ],
)
def test_operations_equal_counted_ones(architecture: str, seconds: int, gflop: float):
    config = PUBLISHED_ENCODERS[architecture]
    assert config.flops(seconds * 16000) / 1e9 == pytest.approx(gflop, rel=0.01)


@pytest.mark.parametrize(
    ("name", "seconds", "gflop"),
    [
        ("Atotti/Kimi-Audio-Whisper-Encoder", 3, 2274),
        ("Atotti/AFWhisper", 30, 2274),
        *(("giangndm/qwen3-30b-omni-audio-encoder", s, g) for s, g in ((1, 20.9), (10, 209.3), (30, 628.0))),
    ],
)
def test_operations_of_encoders_behind_log_mel(name: str, seconds: int, gflop: float):
    # The figures of Qwen3-Omni are without the products of attention, about one percent.
    assert PUBLISHED_ENCODERS[name].flops(seconds * 16000) / 1e9 == pytest.approx(gflop, rel=0.015)


def test_operations_of_the_published_model():
    config = published_config()
    samples, frames = 160000, 499
    # Six layers of width 768 and 2048 feed-forward, and the projection.
    category = 2 * 6 * frames * (4 * 768**2 + 2 * 768 * 2048 + 2 * frames * 768) + 2 * frames * 768**2
    encoder = config.encoders[0].architecture.flops(samples)
    assert clip_flops(config, samples) == pytest.approx(encoder + category, rel=1e-6)
    # In both orders: queries, keys, values and output of each frame, scores and weighted sum of each pair of frames.
    crossed = 2 * (2 * 4 * frames * 768**2 + 2 * 2 * frames**2 * 768)
    lengths = ([[samples], [0]], [[samples, samples]])
    one, two = ([BatchArrays(None, {}, np.array(each), None, None, None, None)] for each in lengths)
    assert training_flops(config, one) == pytest.approx(encoder + 3 * category, rel=1e-6)
    assert training_flops(config, two) == pytest.approx(2 * encoder + 3 * (2 * category + crossed), rel=1e-6)


@pytest.mark.slow
def test_predictions_are_evaluated_ranked_and_reported_on(tmp_path):
    figures = evaluate.measure(Settings(scratch=tmp_path, clips=2000))
    assert {"evaluate_command_mb", "rank_command_mb", "report_command_mb", "report_mb"} <= figures.keys()
    assert figures["peak_memory_mb"] < 1000 and 0 < figures["report_mb"] < 5
