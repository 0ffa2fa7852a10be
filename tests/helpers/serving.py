"""The service in a test: a stand-in for a model that computes nothing, recordings as bytes, a client."""

import base64
import contextlib
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.helpers.corpus import speech_like
from urgentmos_jax.audio.loading import AudioError
from urgentmos_jax.scoring.rows import (
    Compared,
    Encoded,
    EncodedWindow,
    Scored,
    WindowComparison,
    comparison_row,
    score_row,
)
from urgentmos_jax.serving.app import create_app
from urgentmos_jax.serving.limits import Limits
from urgentmos_jax.serving.server import address_of, bind, make_server
from urgentmos_jax.serving.service import Service

pytest.importorskip("starlette")

from starlette.testclient import TestClient


class Levels:
    """Takes a model's place: its score is the mean level, its CMOS the difference of them.

    Attributes:
        batches: Recordings of each computation.
        free: Computing waits for it.
        poison: uid of the recording that ends a computation with an error.
    """

    name, metrics, comparative_metrics, min_samples = "levels", ("mos_overall", "level"), ("mos_overall",), 400

    def __init__(self, batch_seconds: float = 8.0):
        self.engine = SimpleNamespace(batch_seconds=batch_seconds)
        self.batches: list[list[str]] = []
        self.free, self.busy = threading.Event(), threading.Event()
        self.free.set()
        self.poison = None

    def score(self, inputs, *, sample_rate):
        assert sample_rate == 16000 and len(inputs) == 1

    def assess(
        self, recordings, pairs=(), *, uids, pair_uids=(), frames=False, order="both", max_feature_bytes, **metrics
    ):
        self.batches.append(list(uids))
        self.busy.set()
        assert self.free.wait(20)
        if self.poison in uids:
            raise RuntimeError("a poisonous recording")
        found = [self._encode(recording) for recording in recordings]
        rate = 50.0 if frames else None
        for index, (uid, one) in enumerate(zip(uids, found, strict=True)):
            row = score_row(uid, None, one, metrics.get("metrics") or self.metrics, frame_rate_hz=rate)
            yield Scored(index, row)
        for index, (a, b) in enumerate(pairs):
            sides, windows = (found[a], found[b]), []
            if not any(isinstance(side, AudioError) for side in sides):
                cmos = sides[0].windows[0].scores["level"] - sides[1].windows[0].scores["level"]
                part = (np.float32(cmos), np.full(3, 1 / 3), np.zeros(3))
                windows = [WindowComparison(1, {"mos_overall": (*part, -part[0], *part[1:])})]
            row = comparison_row(pair_uids[index], [None, None], sides, windows, self.comparative_metrics, order)
            yield Compared(index, row)

    def _encode(self, recording):
        try:
            waveform = np.concatenate(list(recording))
        except AudioError as error:
            return error
        level = float(np.abs(waveform).mean())
        count = len(waveform) // 320
        curve = np.abs(waveform[: 320 * count]).reshape(count, 320).mean(1), np.full(count, 1 / count)
        frames = {"mos_overall": (1 + curve[0], curve[1]), "level": curve}
        window = EncodedWindow(len(waveform), {"mos_overall": 1 + level, "level": level}, frames, {})
        return Encoded(recording.duration_s, list(recording.flags), [window])


def recording(seed: int = 0, samples: int = 8000, kind: str = "WAV") -> bytes:
    """A file of half a second, or of so many samples."""
    file = io.BytesIO()
    soundfile.write(file, speech_like(seed, samples), 16000, format=kind)
    return file.getvalue()


def form(*contents: bytes) -> list[tuple]:
    """Fields of a multipart body."""
    return [("files", (f"{number}.wav", content)) for number, content in enumerate(contents)]


def in_json(content: bytes, **more: str) -> dict[str, str]:
    """A recording in a JSON body."""
    return {"base64": base64.b64encode(content).decode(), **more}


@contextlib.contextmanager
def serving(
    model, *, root: Path | None = None, token: str | None = None, host: str = "http://127.0.0.1", **limits
) -> Iterator[tuple[TestClient, Service]]:
    """A client, in this process, of a service of a model."""
    service = Service(model, limits=Limits(**limits), root=root, token=token)
    with TestClient(create_app(service), base_url=host) as client:
        yield client, service


@contextlib.contextmanager
def listening(model, *, token: str | None = None, **limits) -> Iterator[str]:
    """The address of a service that listens on loopback, in a thread of this process."""
    bound = bind("127.0.0.1", 0, token)
    ready = threading.Event()
    server = make_server(Service(model, limits=Limits(**limits), token=token), ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        assert ready.wait(60)
        yield address_of(bound)
    finally:
        server.should_exit = True
        thread.join()
        bound.close()


def error_of(answer, status: int) -> str:
    """The message of an answer that is an error with this status."""
    assert answer.status_code == status, answer.text
    content = json.loads(answer.text)
    assert content.keys() == {"error"} and content["error"].keys() == {"code", "message"}
    return content["error"]["message"]
