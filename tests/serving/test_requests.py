"""Requests and their answers: statuses, rows, limits, the token, paths; the model is a stand-in."""

import io
import json
import os
import tempfile
import threading
import time

import numpy as np
import pytest
import soundfile

from tests.helpers.serving import Levels, error_of, form, in_json, recording, serving

A, B = recording(1), recording(2, 9600)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    (folder / "in").mkdir()
    (folder / "in" / "a.wav").write_bytes(A)
    outside = tmp_path_factory.mktemp("outside")
    (outside / "b.wav").write_bytes(B)
    (folder / "out").symlink_to(outside)
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "within.wav").symlink_to(folder / "in" / "a.wav")
    return folder


@pytest.fixture(scope="module")
def client(root):
    with serving(Levels(), root=root, max_bytes=1 << 20, max_seconds=20, max_files=5, delay_seconds=0) as (one, _):
        yield one


def rows_of(answer) -> list[dict]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert content.keys() == {"rows"}
    return content["rows"]


def test_rows_of_forms_and_of_json_are_the_same(client):
    formed = rows_of(client.post("/score", files=form(A, B)))
    assert [row["uid"] for row in formed] == ["0.wav", "1.wav"]
    assert [row["duration_s"] for row in formed] == [0.5, 0.6]
    assert all(row["path"] is None and row["error"] is None for row in formed)
    body = {"files": [in_json(A, uid="0.wav"), in_json(B, uid="1.wav")]}
    assert rows_of(client.post("/score", json=body)) == formed
    compared = rows_of(client.post("/compare", files=form(A, B, B, A)))
    assert [row["uid"] for row in compared] == ["0.wav 1.wav", "2.wav 3.wav"]
    first, second = (row["comparison"]["mos_overall"]["cmos"] for row in compared)
    assert first == -second != 0
    (named,) = rows_of(client.post("/compare", json={"pairs": [body["files"]]}))
    assert named == compared[0]
    assert named["paths"] == [None, None] and named["durations_s"] == [0.5, 0.6]


def test_bad_recordings_are_rows(client):
    cut = A[: len(A) // 2]
    rows = rows_of(client.post("/score", files=form(A, b"", b"<html>404</html>", cut, recording(3, 100))))
    codes = [row["error"] and row["error"]["code"] for row in rows]
    assert codes == [None, "empty", "undecodable", "truncated", "too_short"]
    assert all(row["error"] is None or row["error"]["message"].startswith(row["uid"]) for row in rows)
    broken = io.BytesIO()
    soundfile.write(broken, np.full(8000, np.nan), 16000, format="WAV", subtype="FLOAT")
    (row,) = rows_of(client.post("/compare", files=form(A, broken.getvalue())))
    assert row["comparison"] is None and row["error"]["code"] == "non_finite"


def test_options_are_in_the_query(client):
    (row,) = rows_of(client.post("/score?metrics=level", files=form(A)))
    assert row["scores"].keys() == {"level"}
    (row,) = rows_of(client.post("/compare?order=ab", files=form(A, B)))
    assert "logits" in row["comparison"]["mos_overall"]
    assert "no_such" in error_of(client.post("/score?metrics=no_such", files=form(A)), 422)
    for query in ("frames=yes", "order=ab", "frame=true", "metrics=", "frames=true&frames=true"):
        assert "frames" in error_of(client.post(f"/score?{query}", files=form(A)), 400) or "metrics" in query
    error_of(client.post("/compare?order=ba", files=form(A, B)), 400)


def test_paths_lie_below_the_root(client, root):
    given = ["in/a.wav", "in/../in/a.wav", "within.wav"]
    rows = rows_of(client.post("/score", json={"files": [{"path": path} for path in given]}))
    assert [row["path"] for row in rows] == [row["uid"] for row in rows] == given
    assert len({json.dumps(row["scores"]) for row in rows}) == 1
    rows = rows_of(
        client.post("/score", json={"files": [{"path": path} for path in ("in/no.wav", "in", ".", "circle")]})
    )
    assert [row["error"]["code"] for row in rows] == ["missing"] * 4
    assert all(str(root) not in json.dumps(row) for row in rows)
    away = ["../b.wav", "out/b.wav", "/etc/passwd", str(root / "in" / "a.wav"), "", "in/../../x", "a\0b"]
    for path in [*away, "\ud800"]:
        body = json.dumps({"files": [{"path": path}]})
        message = error_of(client.post("/score", content=body, headers={"content-type": "application/json"}), 400)
        assert "does not lie below the root" in message
        assert str(root) not in message or str(root) in path


def test_without_a_root_there_are_no_paths():
    with serving(Levels()) as (client, _):
        assert "--root" in error_of(client.post("/score", json={"files": [{"path": "a.wav"}]}), 400)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("", 400),
        (b"\xff\xfe{}", 400),
        ("[" * 100_000, 400),
        ('{"files": [], "files": []}', 400),
        ("[]", 422),
        ("null", 422),
        ('{"files": []}', 422),
        ('{"files": {}}', 422),
        ('{"files": ["a.wav"]}', 422),
        ('{"files": [{}]}', 422),
        ('{"files": [{"base64": "?"}]}', 422),
        ('{"files": [{"base64": "YQ"}]}', 422),
        ('{"files": [{"base64": 1}]}', 422),
        ('{"files": [{"base64": "", "path": "a"}]}', 422),
        ('{"files": [{"base64": "", "rate": "16000"}]}', 422),
        ('{"pairs": [[{"base64": ""}, {"base64": ""}]]}', 422),
        ('{"files": [{"base64": ""}], "frames": true}', 422),
        (json.dumps({"files": [{"base64": ""}] * 6}), 413),
    ],
)
def test_json_that_is_refused(client, body, status):
    error_of(client.post("/score", content=body, headers={"content-type": "application/json; charset=utf-8"}), status)


def test_pairs_that_are_refused(client):
    one = in_json(A)
    for pairs in ([one, one], [[one]], [[one, one, one]], [[one, "b"]], []):
        error_of(client.post("/compare", json={"pairs": pairs}), 422)
    assert "one after the other" in error_of(client.post("/compare", files=form(A)), 422)
    error_of(client.post("/compare", json={"pairs": [[one, one]] * 6}), 413)


def test_forms_that_are_refused(client):
    error_of(client.post("/score", files=[("file", ("a.wav", A))]), 422)
    error_of(client.post("/score", files=form(A), data={"frames": "true"}), 422)
    error_of(client.post("/score", files=form(*[A] * 6)), 413)
    for body in (b"", b"--x\r\n", b"--x\r\n\r\na\r\n--x--", b"no form", form_body(A)[:200]):
        answer = client.post("/score", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
        assert answer.status_code in (400, 422), body
    error_of(client.post("/score", content=b"a", headers={"content-type": "multipart/form-data"}), 400)


def form_body(content: bytes) -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    return head + content + b"\r\n--x--\r\n"


def test_other_content_is_refused(client):
    for kind in ("audio/wav", "text/plain", "application/x-www-form-urlencoded", ""):
        message = error_of(client.post("/score", content=A, headers={"content-type": kind}), 415)
        assert "multipart/form-data" in message
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    error_of(client.post("/score", content=b"{}", headers=headers), 415)


def test_bytes_and_seconds_are_limited(client):
    large = bytes((1 << 20) + 1)
    headers = {"content-type": "application/json"}
    assert "1 MiB" in error_of(client.post("/score", content=large, headers=headers), 413)
    assert "1 MiB" in error_of(client.post("/score", content=iter([large[:9], large]), headers=headers), 413)
    assert "1 MiB" in error_of(client.post("/score", files=form(large)), 413)
    silence = io.BytesIO()  # Short as a file, not as a recording.
    soundfile.write(silence, np.zeros(16000 * 15, np.int16), 16000, format="FLAC")
    assert len(silence.getvalue()) < 1 << 17
    assert rows_of(client.post("/score", files=form(silence.getvalue())))[0]["duration_s"] == 15
    assert "20 s" in error_of(client.post("/score", files=form(silence.getvalue(), silence.getvalue())), 413)


def test_paths_and_methods_that_there_are_not(client):
    assert "POST /score" in error_of(client.get("/nothing"), 404)
    assert "POST /score" in error_of(client.get("/score"), 405)
    error_of(client.post("/health"), 405)


def test_health_and_metrics(client):
    health = client.get("/health").json()
    assert health["status"] == "ok" and health["metrics"] == ["mos_overall", "level"]
    client.post("/score", files=form(A, b"x"))
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values['urgentmos_rows_total{path="/score",result="undecodable"}']) >= 1
    assert float(values['urgentmos_requests_total{path="/score",status="200"}']) >= 1
    assert float(values["urgentmos_audio_seconds_total"]) >= 0.5
    assert values["urgentmos_open_requests"] == values["urgentmos_waiting_requests"] == "0"
    count = values['urgentmos_request_seconds_count{path="/score"}']
    assert values['urgentmos_request_seconds_bucket{path="/score",le="+Inf"}'] == count != "0"
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert all(any(name.startswith(known) for known in names) for name in values)


def test_a_token_is_asked_for():
    with serving(Levels(), token="söcret", host="http://example.org") as (client, _):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "söcret".encode()}):
            for path in ("/score", "/compare"):
                answer = client.post(path, files=form(A, B), headers=headers)
                error_of(answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"
            error_of(client.get("/metrics", headers=headers), 401)
        right = {"authorization": "Bearer söcret".encode()}
        assert client.post("/score", files=form(A), headers=right).status_code == 200
        assert client.get("/metrics", headers=right).status_code == 200
        assert client.get("/health").status_code == client.get("/").status_code == 200


def test_without_a_token_only_loopback_is_answered():
    with serving(Levels()) as (client, _):
        for host in ("127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:80"):
            assert client.post("/score", files=form(A), headers={"host": host}).status_code == 200, host
        for host in ("example.org", "127.0.0.1.example.org", "[::1", "10.0.0.1:8000", "localhost.example"):
            error_of(client.post("/score", files=form(A), headers={"host": host}), 400)


def test_a_full_queue_is_told_to_come_again():
    model = Levels()
    with serving(model, queue=2, delay_seconds=0) as (client, service):
        model.free.clear()
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(client.post("/score", files=form(A)))) for _ in "ab"]
        for thread in threads:
            thread.start()
        wait_until(lambda: service.open_requests == 2)
        answer = client.post("/score", files=form(A))
        assert "try again" in error_of(answer, 503) and answer.headers["retry-after"] == "1"
        assert client.get("/health").status_code == 200
        model.free.set()
        for thread in threads:
            thread.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        assert client.post("/score", files=form(A)).status_code == 200


def test_audio_that_waits_is_limited():
    model = Levels()
    with serving(model, max_seconds=1, delay_seconds=0) as (client, _):  # 4 s may wait.
        model.free.clear()
        second = recording(5, 16000)
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(client.post("/score", files=form(second)).status_code))
            for _ in range(7)
        ]
        threads[0].start()
        assert model.busy.wait(20)
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda: len(answers) == 2)
        model.free.set()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [200] * 5 + [503] * 2


def test_what_takes_too_long_is_told_so():
    model = Levels()
    with serving(model, timeout_seconds=0.2, delay_seconds=0) as (client, service):
        model.free.clear()
        first = client.post("/score", files=form(A))
        second = client.post("/score", files=form(A))
        assert "not computed within 0.2 s" in error_of(first, 503) and first.headers["retry-after"] == "1"
        error_of(second, 503)
        assert service.batcher.waiting == (0, 0.0)
        model.free.set()


def test_one_that_fails_does_not_take_the_others_with_it(caplog):
    model = Levels()
    model.poison = "0.wav"
    with serving(model) as (client, _):
        assert "its log says more" in error_of(client.post("/score", files=form(A)), 500)
        assert "a poisonous recording" in caplog.text
        assert client.post("/score", json={"files": [in_json(A, uid="other")]}).status_code == 200


def test_nothing_of_a_request_is_written(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a temporary file")

    opened = []
    monkeypatch.setattr(tempfile, "_mkstemp_inner", refuse)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    kept = os.open
    monkeypatch.setattr(
        os, "open", lambda path, flags, *more, **at: opened.append(flags) or kept(path, flags, *more, **at)
    )
    with serving(Levels(), max_seconds=400) as (client, _):
        large = recording(7, 16000 * 100)
        assert len(large) > 3 << 20
        assert client.post("/compare", files=form(large, large)).status_code == 200
        assert client.post("/score", json={"files": [in_json(large)]}).status_code == 200
    assert not [flags for flags in opened if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)]


def wait_until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)
