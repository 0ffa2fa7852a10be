"""Rows of the service are those of files, whatever shares their batch."""

import json
import threading

import jax
import numpy as np
import pytest

from tests.helpers.serving import form, in_json, recording, serving
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.scoring.row_formats import JsonLines
from urgentmos_jax.weights.model_folder import load_folder

SAMPLES = 8000


@pytest.fixture(scope="module")
def model(model_folder) -> Model:
    return Model(load_folder(model_folder)[0], name="tiny", folder=model_folder, devices=jax.devices()[:1])


@pytest.fixture(scope="module")
def contents() -> list[bytes]:
    return [recording(seed, SAMPLES) for seed in (1, 2)]


@pytest.fixture(scope="module")
def files(contents, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for number, content in enumerate([*contents, b"", contents[0][:9000]]):
        (folder / f"{number}.wav").write_bytes(content)
    return folder


def written(rows: list) -> list[dict]:
    """Rows as a file has them."""
    return [json.loads(JsonLines().line(row)) for row in rows]


def check_same(found: list[dict], wanted: list[dict]) -> None:
    """Equal, but for 1e-5 in the numbers."""
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        _check_same(one, other)


def _check_same(found, wanted) -> None:
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            _check_same(found[key], wanted[key])
    elif isinstance(wanted, list) and wanted and isinstance(wanted[0], float):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
    elif isinstance(wanted, float):
        assert abs(found - wanted) <= 1e-5
    else:
        assert found == wanted


def test_scores_are_those_of_files(model, files, contents):
    names = [f"{number}.wav" for number in range(4)]
    wanted = written(model.score([files / name for name in names], uids=names))
    for row in wanted:  # Clients know nothing of the folder.
        row["path"] = row["uid"]
        if row["error"]:
            row["error"]["message"] = row["error"]["message"].replace(str(files / row["uid"]), row["uid"])
    assert [row["error"] and row["error"]["code"] for row in wanted] == [None, None, "empty", "truncated"]
    with serving(model, root=files) as (client, _):
        found = client.post("/score", json={"files": [{"path": name} for name in names]}).json()["rows"]
        check_same(found, wanted)
        check_same(client.post("/score", files=form(*contents)).json()["rows"], without_paths(wanted[:2]))


def without_paths(rows: list[dict]) -> list[dict]:
    return [{**row, "path": None} for row in rows]


@pytest.mark.slow
def test_requests_of_every_kind_share_batches(model, files, contents):
    names = ["0.wav", "1.wav"]
    paths = [files / name for name in names]
    bodies = [in_json(content, uid=name) for name, content in zip(names, contents, strict=True)]
    scores = without_paths(written(model.score(paths, uids=names)))
    frames = without_paths(written(model.score(paths, uids=names, frames=True)))
    pairs = [paths, paths[::-1]]
    compared = {
        order: [{**row, "paths": [None, None]} for row in written(model.compare(pairs, order=order, uids=["p", "q"]))]
        for order in ("both", "ab")
    }
    for rows in compared.values():
        for row, (a, b) in zip(rows, (names, names[::-1]), strict=True):
            row["uid"] = f"{a} {b}"
    asked = {
        "/score": ({"files": bodies}, scores),
        "/score?frames=true": ({"files": bodies}, frames),
        "/compare": ({"pairs": [bodies, bodies[::-1]]}, compared["both"]),
        "/compare?order=ab": ({"pairs": [bodies, bodies[::-1]]}, compared["ab"]),
    }
    with serving(model, delay_seconds=0.5) as (client, service):
        found: dict[tuple[str, int], list[dict]] = {}

        def ask(path: str, number: int) -> None:
            found[path, number] = client.post(path, json=asked[path][0]).json()["rows"]

        threads = [threading.Thread(target=ask, args=(path, number)) for path in asked for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == len(threads)
        for (path, _), rows in found.items():
            check_same(rows, asked[path][1])
        batches = [line for line in service.metrics_text().splitlines() if "batch_requests_count" in line]
        assert int(batches[0].split()[1]) < len(threads)
        flipped = found["/compare", 0]
        assert flipped[0]["comparison"]["mos_overall"]["cmos"] == -flipped[1]["comparison"]["mos_overall"]["cmos"]
