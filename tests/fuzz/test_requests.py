"""Bodies of requests with fixed damage: each is answered, by rows or by an error of ours, and the service goes on."""

import json
from collections import Counter

import pytest

from tests.fuzz.mutations import mutated
from tests.helpers.serving import Levels, form, in_json, recording, serving

COUNT = 1500
STATUSES = {200, 400, 413, 415, 422}


def seeds() -> list[tuple[str, str, bytes]]:
    """(path, Content-Type, body) of good requests."""
    one, other = recording(1, 1600), recording(2, 1600, "FLAC")
    parts = [
        f'--bound\r\nContent-Disposition: form-data; name="{name}"; filename="{file[0]}"\r\n'.encode()
        + b"Content-Type: audio/wav\r\n\r\n"
        + file[1]
        + b"\r\n"
        for name, file in form(one, other)
    ]
    formed = b"".join(parts) + b"--bound--\r\n"
    items = [in_json(one, uid="a"), in_json(other), {"path": "a.wav"}, {"path": "in/../a.wav", "uid": "\u00e9"}]
    scored, compared = ({"files": items}, {"pairs": [items[:2], items[2:]]})
    kind = "multipart/form-data; boundary=bound"
    return [
        ("/score", kind, formed),
        ("/compare?order=ab", kind, formed),
        ("/score?frames=true", "application/json", json.dumps(scored).encode()),
        ("/compare", "application/json", json.dumps(compared, ensure_ascii=False).encode()),
    ]


@pytest.mark.slow
def test_damaged_requests_are_answered(tmp_path):
    (tmp_path / "a.wav").write_bytes(recording(3, 1600))
    requests = {f"{path} {kind}": (path, kind, body) for path, kind, body in seeds()}
    bodies = {name: body for name, (_, _, body) in requests.items()}
    kinds = {name: kind.encode() for name, (_, kind, _) in requests.items()}
    statuses: Counter = Counter()
    with serving(Levels(), root=tmp_path, max_bytes=1 << 20, max_files=20, delay_seconds=0) as (client, service):
        for number in range(COUNT):
            name = list(requests)[number % 4]
            path, kind, _ = requests[name]
            damaged = mutated(bodies, name, number)
            if number % 8 == 7:
                kind = mutated(kinds, name, number).decode("latin-1")
            headers = {"content-type": kind.translate({code: None for code in (*range(32), 127)}).encode("latin-1")}
            answer = client.post(path, content=damaged, headers=headers)
            statuses[answer.status_code] += 1
            content = answer.json()
            assert answer.status_code in STATUSES, (number, answer.text)
            assert content.keys() == ({"rows"} if answer.status_code == 200 else {"error"})
            if answer.status_code != 200:
                assert content["error"]["message"] and "Traceback" not in content["error"]["message"]
            assert str(tmp_path) not in answer.text
        assert service.open_requests == 0 and service.batcher.waiting == (0, 0)
        assert client.post("/score", files=form(recording(1))).status_code == 200
    print(f"answers to {COUNT} damaged requests: {dict(statuses)}")
    assert statuses[200] > COUNT // 50 and sum(statuses.values()) == COUNT
