"""The command as a user meets it: rows, exit status, errors."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import speech_like
from tests.helpers.torch_writer import Raw, call, checkpoint, state_dict_file, storage, tensor
from urgentmos_jax.cli import main
from urgentmos_jax.cli.common import UsageError, read_list
from urgentmos_jax.weights.model_folder import load_folder
from urgentmos_jax.weights.torch_zip import read_torch_file

CASE = Path(__file__).parents[1] / "golden" / "model" / "c1m5-mean-base"


@pytest.fixture(autouse=True)
def _one_device(monkeypatch):
    """Eight devices are not what these tests are about, and take longer to compile for."""
    import jax

    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])


def write(path: Path, seed: int, samples: int = 8000, rate: int = 16000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, speech_like(seed, samples), rate)
    return path


def run(capsys, *arguments) -> tuple[int, list[dict], str]:
    """Exit status, rows on standard output, standard error."""
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, [json.loads(line) for line in out.splitlines()], err


def refused(capsys, *arguments) -> str:
    """The error of a command that is refused: one message, nothing on standard output, no traceback."""
    status, rows, err = run(capsys, *arguments)
    assert status == 2 and rows == [] and "Traceback" not in err
    return err


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Three good clips and five bad ones."""
    folder = tmp_path / "mixed"
    for name, seed in (("b", 1), ("e", 2), ("h", 3)):
        write(folder / f"{name}.wav", seed)
    (folder / "a.wav").write_bytes(b"")
    (folder / "c.wav").write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>\n" * 20)
    whole = write(folder / "d.wav", 4, 16000).read_bytes()
    (folder / "d.wav").write_bytes(whole[: len(whole) // 2])
    broken = speech_like(5, 8000)
    broken[4000] = np.nan
    soundfile.write(folder / "f.wav", broken, 16000, subtype="FLOAT")
    write(folder / "g.wav", 6, 100)
    return folder


def test_bad_files_leave_good_ones_alone(mixed, model_folder, tmp_path, capsys):
    output = tmp_path / "scores.jsonl"
    status, _, err = run(capsys, "score", mixed, "--model", model_folder, "--output", output)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert status == 1 and "8 rows, 3 done, 5 failed" in err
    assert [row["uid"] for row in rows] == list("abcdefgh")
    codes = [row["error"] and row["error"]["code"] for row in rows]
    assert codes == ["empty", None, "undecodable", "truncated", None, "non_finite", "too_short", None]
    for row in rows:
        assert (row["scores"] is None) == (row["error"] is not None)
        assert row["error"] is None or f"{row['uid']}.wav" in row["error"]["message"]
    good = [mixed / f"{name}.wav" for name in "beh"]
    status, alone, _ = run(capsys, "score", *good, "--model", model_folder)
    assert status == 0
    assert [row["scores"] for row in rows if row["scores"]] == [pytest.approx(r["scores"], abs=2e-6) for r in alone]
    meta = json.loads((tmp_path / "scores.jsonl.meta.json").read_text())
    assert meta["counts"] == {
        "rows": 8, "done": 3, "failed": 5, "error:empty": 1, "error:undecodable": 1, "error:truncated": 1,
        "error:non_finite": 1, "error:too_short": 1,
    }  # fmt: skip
    assert meta["resampler"] == "soxr_hq" and "60 s" in meta["window_rule"] and len(meta["model_sha256"]) == 64


def test_csv_has_the_same_rows(mixed, model_folder, tmp_path, capsys):
    output = tmp_path / "scores.csv"
    assert run(capsys, "score", mixed, "--model", model_folder, "--output", output, "--metrics", "utmos,scoreq")[0] == 1
    rows = list(csv.DictReader(output.open()))
    assert list(rows[0]) == ["uid", "path", "utmos", "scoreq", "duration_s", "windows", "flags", "error", "message"]
    assert [row["error"] for row in rows].count("") == 3 and len(rows) == 8
    assert all((row["utmos"] == "") == (row["error"] != "") for row in rows)


def test_every_kind_of_input(model_folder, tmp_path, capsys, monkeypatch):
    a = write(tmp_path / "audio" / "a.wav", 1)
    b = write(tmp_path / "audio" / "deep" / "b.flac", 2)
    (tmp_path / "l.jsonl").write_text(
        '\ufeff{"uid": "A", "audio_path": "audio/a.wav"}\r\n\r\n' + json.dumps({"audio_path": str(b)}) + "\n"
    )
    (tmp_path / "l.csv").write_text("uid,path\nA,audio/a.wav\nB,audio/deep/b.flac\n")
    (tmp_path / "l.scp").write_text("A audio/a.wav\nB audio/deep/b.flac\n")
    (tmp_path / "l.txt").write_text("audio/a.wav\naudio/deep/b.flac\n")
    _, wanted, _ = run(capsys, "score", a, b, "--model", model_folder)
    uids = {"l.jsonl": ["A", str(b)], "l.csv": ["A", "B"], "l.scp": ["A", "B"], "audio": ["a", "deep/b"]}
    for name in ("l.jsonl", "l.csv", "l.scp", "l.txt", "audio"):
        status, rows, _ = run(capsys, "score", tmp_path / name, "--model", model_folder)
        assert status == 0 and [row["scores"] for row in rows] == [row["scores"] for row in wanted]
        assert [row["uid"] for row in rows] == uids.get(name, ["audio/a.wav", "audio/deep/b.flac"])
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{a}\n{b}\n"))
    _, rows, _ = run(capsys, "score", "-", "--model", model_folder)
    assert [row["path"] for row in rows] == [str(a), str(b)]
    shutil.move(tmp_path / "l.txt", tmp_path / "audio" / "l.txt")
    _, rows, _ = run(capsys, "score", tmp_path / "audio" / "l.txt", "--model", model_folder, "--audio-root", tmp_path)
    assert [row["scores"] for row in rows] == [row["scores"] for row in wanted]


def test_no_input_is_lost_beyond_the_first_groups(model_folder, tmp_path, capsys):
    # Decoded in groups of 32 and then 256; every seventh fails.
    for i in range(300):
        path = tmp_path / f"{i:03}.wav"
        path.write_bytes(b"") if i % 7 == 0 else soundfile.write(path, speech_like(i, 1600), 16000)
    status, rows, err = run(capsys, "score", tmp_path, "--model", model_folder, "--metrics", "utmos")
    assert status == 1 and "300 rows, 257 done, 43 failed" in err
    assert [row["uid"] for row in rows] == [f"{i:03}" for i in range(300)]
    assert all((row["scores"] is None) == (i % 7 == 0) for i, row in enumerate(rows))
    assert len({row["scores"]["utmos"] for row in rows if row["scores"]}) > 200, "each has a score of its own"


def listed(path: Path, content: str | bytes) -> list[tuple[str, str]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_list(path)


def test_odd_lines_of_lists(tmp_path):
    a, spaced = str(tmp_path / "a.wav"), str(tmp_path / "a b.wav")
    assert listed(tmp_path / "l.scp", "u\ta.wav\nv  a b.wav \n") == [("u", a), ("v", spaced)]
    assert listed(tmp_path / "l.csv", 'uid,path\r\n"two\nlines",a.wav\r\n,a b.wav\r\n') == [
        ("two\nlines", a),
        ("a b.wav", spaced),
    ]
    zero, separator = {"uid": 0, "audio_path": "a.wav"}, {"uid": "\u2028\x85\x0c", "audio_path": "a.wav"}
    lines = [json.dumps(line, ensure_ascii=False) for line in (zero, separator)]
    assert listed(tmp_path / "l.jsonl", "\n".join(lines)) == [("0", a), (separator["uid"], a)]
    assert listed(tmp_path / "l.txt", "a b.wav\r\n\r\n") == [("a b.wav", spaced)]


def test_broken_lists_name_each_line(tmp_path):
    broken = {
        "a.jsonl": ("[" * 100_000 + '\n"x"\n{"path": 3}\n', (1, 2, 3)),
        "a.csv": ("uid,path\nA\nB,b.wav\n,\n", (2, 4)),
        "no_column.csv": ("uid,file\nA,a.wav\n", (1,)),
        "a.scp": ("A a.wav\nB\n", (2,)),
    }
    for name, (content, numbers) in broken.items():
        with pytest.raises(UsageError) as error:
            listed(tmp_path / name, content)
        found = [number for number in range(1, 9) if f"{name}:{number}: " in str(error.value)]
        assert found == list(numbers), name
    for name, content in (("utf16.txt", "a.wav".encode("utf-16")), ("empty.txt", b"\n \n"), ("none.csv", b"")):
        with pytest.raises(UsageError, match=name):
            listed(tmp_path / name, content)
    with pytest.raises(UsageError, match=r"(?s)30 lines.*l.scp:20:.*and 10 more"):
        listed(tmp_path / "l.scp", "x\n" * 30)


def test_a_file_name_that_is_not_utf8(model_folder, tmp_path, capsys):
    folder = tmp_path / "audio"
    write(folder / "b.wav", 1)
    try:
        shutil.copy(folder / "b.wav", os.fsencode(folder) + b"/caf\xe9.wav")
    except OSError:
        pytest.skip("file names are UTF-8 on this disk")
    for output in (tmp_path / "o.jsonl", tmp_path / "o.csv"):
        assert run(capsys, "score", folder, "--model", model_folder, "--output", output)[0] == 0
        assert len(output.read_text().splitlines()) == 2 + (output.suffix == ".csv")
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert os.fsencode(rows[1]["path"]) == os.fsencode(folder) + b"/caf\xe9.wav"


def test_frames(model_folder, tmp_path, capsys):
    clip = write(tmp_path / "a.wav", 1)
    _, (row,), _ = run(capsys, "score", clip, "--model", model_folder, "--frames", "--metrics", "mos_overall")
    frames = row["frames"]["mos_overall"]
    assert row["frame_rate_hz"] == 50 and len(frames["scores"]) == len(frames["weights"]) == 24
    assert sum(frames["weights"]) == pytest.approx(1, abs=1e-4)


def test_wrong_usage_of_score(model_folder, tmp_path, capsys, monkeypatch):
    clip = write(tmp_path / "a.wav", 1)
    model = ("--model", model_folder)
    (tmp_path / "bad.jsonl").write_text('{"audio_path": 3}\n{"uid": "x"\n[]\n{"audio_path": "a.wav"}\n')
    (tmp_path / "empty").mkdir()
    error = refused(capsys, "score", tmp_path / "bad.jsonl", *model)
    assert all(f"bad.jsonl:{line}:" in error for line in (1, 2, 3)) and "bad.jsonl:4" not in error
    assert "bogus" in refused(capsys, "score", clip, *model, "--metrics", "utmos,bogus")
    assert ".jsonl or .csv" in refused(capsys, "score", clip, *model, "--output", tmp_path / "x.txt")
    assert "--frames" in refused(capsys, "score", clip, *model, "--frames", "--output", tmp_path / "x.csv")
    assert "no recordings" in refused(capsys, "score", tmp_path / "empty", *model)
    assert "cannot be read" in refused(capsys, "score", tmp_path / "none.jsonl", *model)
    assert "no such folder" in refused(capsys, "score", clip, "--model", tmp_path / "none")
    assert "urgentmos convert" in refused(capsys, "score", clip, "--model", tmp_path / "empty")
    for value in ("0", "-1", "nan", "inf"):
        assert "--batch-seconds" in refused(capsys, "score", clip, *model, "--batch-seconds", value)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert "no paths" in refused(capsys, "score", "-", *model)
    assert "a file" in refused(capsys, "score", clip, "--model", clip)
    with pytest.raises(SystemExit) as stop:
        main(["score"])
    assert stop.value.code == 2


def test_a_hub_id_without_network_says_what_to_do(tmp_path):
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "urgentmos_jax.cli", "score", write(tmp_path / "a.wav", 1)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert found.returncode == 2 and found.stdout == "" and "Traceback" not in found.stderr
    assert "urgent-challenge/urgent-mos-f1c1m5dcorpus" in found.stderr and "folder" in found.stderr


def test_compare(model_folder, tmp_path, capsys):
    a, b = write(tmp_path / "x" / "1.wav", 1), write(tmp_path / "y" / "1.flac", 2, 12000)
    model = ("--model", model_folder)
    status, (row,), _ = run(capsys, "compare", a, b, *model)
    values = row["comparison"]["mos_overall"]
    assert status == 0 and set(values) == {"cmos", "p_a", "p_b", "p_tie"} and row["durations_s"] == [0.5, 0.75]
    _, (back,), _ = run(capsys, "compare", b, a, *model)
    assert back["comparison"]["mos_overall"]["cmos"] == pytest.approx(-values["cmos"], abs=2e-6)
    _, (same,), _ = run(capsys, "compare", a, a, *model)
    assert same["comparison"]["mos_overall"]["cmos"] == 0
    _, (raw,), _ = run(capsys, "compare", a, b, *model, "--order", "ab")
    assert len(raw["comparison"]["mos_overall"]["logits"]) == 3
    (tmp_path / "p.jsonl").write_text('{"audio_paths": ["x/1.wav", "y/1.flac"], "uids": ["A", "B"]}\n')
    _, (listed,), _ = run(capsys, "compare", "--pairs", tmp_path / "p.jsonl", *model)
    assert listed["uid"] == "A B" and listed["comparison"] == row["comparison"]


def test_compare_folders_by_name(model_folder, tmp_path, capsys):
    for side, names in (("x", "123"), ("y", "124")):
        for name in names:
            write(tmp_path / side / "deep" / f"{name}.wav", ord(name) + ord(side))
    arguments = ("compare", tmp_path / "x", tmp_path / "y", "--model", model_folder, "--output", tmp_path / "o.csv")
    status = run(capsys, *arguments)[0]
    rows = list(csv.DictReader((tmp_path / "o.csv").open()))
    assert status == 1 and [row["uid"] for row in rows] == [f"deep/{name}" for name in "1234"]
    values = [f"mos_overall_{value}" for value in ("cmos", "p_a", "p_b", "p_tie")]
    ends = ["duration_a_s", "duration_b_s", "windows", "flags", "error", "message"]
    assert list(rows[0]) == ["uid", "path_a", "path_b", *values, *ends]
    assert json.loads((tmp_path / "o.csv.meta.json").read_text())["counts"]["error:missing"] == 2
    assert [row["error"] for row in rows] == ["", "", "missing", "missing"]
    assert float(rows[0]["mos_overall_cmos"]) != 0 and rows[2]["mos_overall_cmos"] == ""


def test_wrong_usage_of_compare(model_folder, tmp_path, capsys):
    clip = write(tmp_path / "x" / "a.wav", 1)
    write(tmp_path / "y" / "b.wav", 2)
    model = ("--model", model_folder)
    assert "--pairs" in refused(capsys, "compare", clip, *model)
    assert "one of each" in refused(capsys, "compare", clip, tmp_path / "y", *model)
    assert "no recording of the same name" in refused(capsys, "compare", tmp_path / "x", tmp_path / "y", *model)
    write(tmp_path / "twice" / "a.wav", 1)
    write(tmp_path / "twice" / "a.flac", 1)
    error = refused(capsys, "compare", tmp_path / "x", tmp_path / "twice", *model)
    assert "a.wav" in error and "a.flac" in error
    assert "--pairs" in refused(capsys, "compare", clip, clip, "--pairs", tmp_path / "p.jsonl", *model)
    assert ".jsonl or .csv" in refused(capsys, "compare", clip, clip, *model, "--output", tmp_path / "x.txt")
    assert "'scoreq'" in refused(capsys, "compare", clip, clip, *model, "--metrics", "scoreq")
    (tmp_path / "p.jsonl").write_text('{"audio_paths": ["x/a.wav"]}\nx\n')
    error = refused(capsys, "compare", "--pairs", tmp_path / "p.jsonl", *model)
    assert "p.jsonl:1:" in error and "p.jsonl:2:" in error


def test_info(model_folder, capsys):
    assert main(["info", str(model_folder)]) == 0
    out = capsys.readouterr().out
    assert "mos_overall          1 to 5, scores and comparisons" in out and "wavlm, 3 layers of 32" in out
    (total,) = [float(line.split()[2]) for line in out.splitlines() if line.startswith("all ")]
    trained = float(next(line for line in out.splitlines() if line.startswith("all ")).split()[1])
    assert "GFLOP" in out and "GB with" in out and trained > 0
    total += trained
    tensors = read_torch_file(CASE / "model.pt")["model"]
    # All but the ten bounds and the training-only mask embedding; weight norm is folded (16 gains).
    assert total == pytest.approx((sum(t.size for t in tensors.values()) - 10 - 32 - 16) / 1e6, abs=1e-3)


def test_version_needs_no_jax():
    code = "import sys; from urgentmos_jax.cli import main\ntry: main(['--version'])\nexcept SystemExit: pass\n"
    code += "assert 'jax' not in sys.modules and 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


# convert


def changed(tmp_path: Path, change) -> Path:
    """The golden checkpoint, with its content changed."""
    content = read_torch_file(CASE / "model.pt")
    change(content)
    path = tmp_path / "changed.pt"
    path.write_bytes(state_dict_file(content))
    return path


def test_convert_then_score(tmp_path, capsys, model_folder):
    path = changed(tmp_path, lambda content: None)
    assert run_convert(path, tmp_path / "out") == 0
    assert "mos_overall" in capsys.readouterr().out
    clip = write(tmp_path / "a.wav", 1)
    scores = [run(capsys, "score", clip, "--model", m)[1][0]["scores"] for m in (tmp_path / "out", model_folder)]
    assert scores[0] == scores[1]
    assert run_convert(path, tmp_path / "out") == 0, "a model folder may be replaced"


def run_convert(path: Path, out: Path, *encoders: Path) -> int:
    flags = [text for encoder in encoders or (CASE / "encoder",) for text in ("--encoder", str(encoder))]
    return main(["convert", str(path), str(out), *flags])


def convert_error(capsys, path: Path, out: Path, *encoders: Path) -> str:
    assert run_convert(path, out, *encoders) == 2
    found, error = capsys.readouterr()
    assert found == "" and "Traceback" not in error and not out.exists()
    return error


def test_convert_refuses_a_pickle_that_would_act(tmp_path, capsys):
    canary = tmp_path / "canary"
    path = tmp_path / "evil.pt"
    path.write_bytes(checkpoint({"model": Raw(call("posix system", f"touch {canary}")), "config": {}}))
    error = convert_error(capsys, path, tmp_path / "out")
    assert "posix.system" in error and "evil.pt" in error and not canary.exists()


def test_convert_refuses_damaged_files(tmp_path, capsys):
    whole = (CASE / "model.pt").read_bytes()
    cut = tmp_path / "cut.pt"
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        assert "cut.pt" in convert_error(capsys, cut, tmp_path / "out")
    assert "none.pt" in convert_error(capsys, tmp_path / "none.pt", tmp_path / "out")


def test_convert_refuses_a_tensor_beyond_its_storage(tmp_path, capsys):
    path = tmp_path / "odd.pt"
    path.write_bytes(checkpoint({"model": {"a": tensor(storage(numel=6), size=(3, 3))}, "config": {}}))
    assert "beyond its storage" in convert_error(capsys, path, tmp_path / "out")
    path.write_bytes(checkpoint({"model": {"a": tensor(storage(numel=7))}, "config": {}}))
    assert "data/0" in convert_error(capsys, path, tmp_path / "out")


def test_convert_lists_every_key_at_fault(tmp_path, capsys):
    def change(content):
        tensors = content["model"]
        tensors["extra.weight"] = np.ones(3)
        del tensors["category2encoder.mos.layers.0.norm1.bias"]
        del tensors["feature_extractor.feature_extractors.0.model.encoder.layers.2.attention.q_proj.weight"]
        tensors["feature_extractor.feat_proj.0.bias"] = np.ones(31)
        tensors["metric2absolute_score_predictor.utmos.prediction_head.bias"] = np.array([np.nan])

    error = convert_error(capsys, changed(tmp_path, change), tmp_path / "out")
    assert "missing key category2encoder.mos.layers.0.norm1.bias" in error
    assert "encoder.layers.2.attention.q_proj.weight" in error
    assert "unexpected key extra.weight" in error
    assert "feature_extractor.feat_proj.0.bias (31,)" in error
    assert "NaN or infinity in metric2absolute_score_predictor.utmos.prediction_head.bias" in error


def test_convert_names_what_is_wrong_with_the_config(tmp_path, capsys):
    def range_disagrees(content):
        content["model"]["metric2absolute_score_predictor.utmos.activation.max_value"] = np.array(4.5)

    def unknown_pooling(content):
        content["config"]["model"]["metric2absolute_score_predictor"]["pooler_cfg"]["_target_"] = "x.MaxPooling"

    def no_categories(content):
        del content["config"]["model"]["category2metrics"]

    wanted = {range_disagrees: "max_value is 4.5", unknown_pooling: "MaxPooling", no_categories: "category2metrics"}

    def odd_types(content):
        content["config"]["model"]["category2metrics"] = ["mos"]

    def odd_size(content):
        content["config"]["model"]["category2encoder"]["encoder_cfg"]["encoder_layer"]["dim_feedforward"] = 1.5

    wanted |= {odd_types: "not of the kind known here", odd_size: "category.feedforward is 1.5"}
    for change, words in wanted.items():
        assert words in convert_error(capsys, changed(tmp_path, change), tmp_path / "out")
    (tmp_path / "list.pt").write_bytes(checkpoint([1, 2]))
    assert "no UrgentMOS checkpoint" in convert_error(capsys, tmp_path / "list.pt", tmp_path / "out")


def test_convert_a_fused_checkpoint(tmp_path, capsys):
    """Four encoders, given in the order of the checkpoint's config; a wrong order is refused, all keys named."""
    case = CASE.parent / "f4c1m5-mean"
    folders = [case / "encoders" / name for name in ("wavlm-large", "whisper", "qwen3-omni", "qwen2-audio")]
    flags = [word for folder in folders for word in ("--encoder", str(folder))]
    assert main(["convert", str(case / "model.pt"), str(tmp_path / "out"), *flags]) == 0
    config = load_folder(tmp_path / "out")[0].config
    families = [encoder.architecture.model_type for encoder in config.encoders]
    assert families == ["wavlm", "whisper", "qwen3_omni_moe_audio_encoder", "qwen2_audio_encoder"]
    assert [encoder.layer_aggregation for encoder in config.encoders] == [True, True, False, False]
    capsys.readouterr()
    error = convert_error(capsys, case / "model.pt", tmp_path / "other", *reversed(folders))
    assert "missing key feature_extractor.feature_extractors.0.model.conv1.weight" in error
    assert "3 given" in convert_error(capsys, case / "model.pt", tmp_path / "other", *folders[:3])


def test_convert_needs_the_config_of_the_encoder(tmp_path, capsys):
    assert main(["convert", str(CASE / "model.pt"), str(tmp_path / "beside")]) == 0, "it lies beside the file"
    capsys.readouterr()
    shutil.copy(CASE / "model.pt", tmp_path)
    assert main(["convert", str(tmp_path / "model.pt"), str(tmp_path / "out")]) == 2
    assert "--encoder" in capsys.readouterr().err
    twice = (CASE / "encoder",) * 2
    assert "2 given" in convert_error(capsys, CASE / "model.pt", tmp_path / "out", *twice)
    folder = tmp_path / "encoder"
    shutil.copytree(CASE / "encoder", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    (folder / "preprocessor_config.json").unlink()
    error = convert_error(capsys, CASE / "model.pt", tmp_path / "out", folder)
    assert "preprocessor_config.json is missing" in error and "'bert' is not supported" in error


def test_convert_leaves_other_folders_alone(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("x")
    assert run_convert(CASE / "model.pt", tmp_path / "out") == 2
    assert "choose another folder" in capsys.readouterr().err and (tmp_path / "out" / "thesis.tex").exists()
