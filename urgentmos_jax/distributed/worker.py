"""What a worker does: parts of the inputs in, files of rows out; an input that kills it three times is left out."""

import dataclasses
import json
import os
import pickle
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from urgentmos_jax.audio.errors import audio_error
from urgentmos_jax.audio.recordings import FilePart, Recording, Stored
from urgentmos_jax.distributed.parts import PartFormat
from urgentmos_jax.files import write_json
from urgentmos_jax.manifests.inputs import Listed, path_of
from urgentmos_jax.scoring.rows import ScoreRow, score_row

if TYPE_CHECKING:
    from urgentmos_jax.scoring.engine import Precision
    from urgentmos_jax.scoring.model import Model

MAX_KILLS = 3
# Inputs at a time of a part that killed its worker, by how often: the one that does is found by the third time.
_SUSPECTS = {1: 16, 2: 1}


@dataclasses.dataclass(frozen=True)
class Job:
    """What all workers are told.

    Args:
        folder: Where parts go; all workers reach it.
        form: How they are written.
        model: Folder or hub id, as workers find it.
        name: Of the model, as rows have it.
        revision, precision, batch_seconds: See `load_model`.
        frames: See `Model.score`.
        cores: That a worker computes with; None: all, or an accelerator.
    """

    folder: Path
    form: PartFormat
    model: str
    name: str | None
    revision: str | None = None
    precision: "Precision" = "float32"
    batch_seconds: float | None = None
    frames: bool = False
    cores: int | None = None


class Worker:
    """One model, which scores one part after the other. What it cannot load or write it says; Ray's own way is long."""

    def __init__(self, job: Job):
        if job.cores:
            os.environ.setdefault("PJRT_NPROC", str(job.cores))  # Threads of XLA.
        from urgentmos_jax.scoring.loading import load_model

        self._job, self._failure = job, ""
        try:
            self._model: Model = load_model(
                job.model, revision=job.revision, precision=job.precision, batch_seconds=job.batch_seconds
            )
            self._model.name = job.name
        except (ValueError, OSError) as error:
            self._failure = str(error)

    def __call__(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """Makes a part, unless it is there.

        Args:
            part: `number`, and `inputs` as `packed` makes them.

        Returns:
            `number`, `rows`, the seconds of `writing`, and what was added to each of `Times`; else why the model is
            `not_loaded`, or the part `not_written`.
        """
        if self._failure:
            return {"not_loaded": self._failure}
        try:
            return self._made(part)
        except OSError as error:
            return {"not_written": f"{socket.gethostname()}: {error}"}

    def _made(self, part: Mapping[str, Any]) -> dict[str, Any]:
        number, inputs = int(part["number"]), pickle.loads(part["inputs"])
        before, writing_s = self._model.times.copy(), 0.0
        if not self._job.form.path(self._job.folder, number).exists():
            tries = Tries(self._job.folder / f"part-{number:06d}.tries", len(inputs))
            rows: list[ScoreRow] = []
            for chosen in tries.groups():
                some = inputs[chosen.start : chosen.stop]
                rows += map(self._crashed, some) if tries.kills(chosen.start) >= MAX_KILLS else self._rows(some)
            writing_s -= time.perf_counter()
            self._job.form.write(self._job.folder, number, rows)
            writing_s += time.perf_counter()
            tries.forget()
        spent = self._model.times.since(before)
        times = {name: getattr(spent, name) for name in ("reading", "decoding", "computing", "audio")}
        return {"number": number, "rows": len(inputs), "writing": writing_s, **times}

    def _rows(self, inputs: Sequence[tuple[str, Listed]]) -> Iterator[ScoreRow]:
        return self._model.iter_scores(
            [recording for _, recording in inputs],
            uids=[uid for uid, _ in inputs],
            metrics=self._job.form.metrics,
            frames=self._job.frames,
        )

    def _crashed(self, one: tuple[str, Listed]) -> ScoreRow:
        uid, path = one[0], path_of(one[1])
        text = f"it killed its worker {MAX_KILLS} times; the log of Ray says how. Leave it out, or score it alone"
        row = score_row(uid, path, audio_error("crashed", path, text), self._job.form.metrics)
        row["model"] = self._model.signature
        return row


class Tries:
    """How often each input of a part was being scored when its worker died; a file remembers, for the next worker.

    Args:
        path: The file.
        count: Inputs of the part.
    """

    def __init__(self, path: Path, count: int):
        self._path = path
        found = json.loads(path.read_text()) if path.exists() else {"kills": [0] * count, "working": [0, 0]}
        self._kills: list[int] = found["kills"]
        for index in range(*found["working"]):
            self._kills[index] += 1

    def kills(self, index: int) -> int:
        """Of an input."""
        return self._kills[index]

    def groups(self) -> Iterator[range]:
        """All inputs, in groups of as many kills: those without in one, the others by sixteen and one by one. While a
        group is used, it is noted."""
        start = 0
        while start < len(self._kills):
            kills = self._kills[start]
            most = start + _SUSPECTS.get(kills, len(self._kills))
            end = next((i for i in range(start, len(self._kills)) if self._kills[i] != kills or i >= most), None)
            group = range(start, len(self._kills) if end is None else end)
            write_json(self._path, {"kills": self._kills, "working": [group.start, group.stop]})
            yield group
            start = group.stop

    def forget(self) -> None:
        """The part is done."""
        self._path.unlink(missing_ok=True)


def packed(inputs: Sequence[tuple[str, Listed]]) -> bytes:
    """Inputs for workers, whose working folder is another one: where they lie is absolute, their names stay."""
    return pickle.dumps([(uid, _absolute(recording)) for uid, recording in inputs])


def _absolute(recording: Listed) -> Listed:
    if isinstance(recording, str):
        return Recording(recording, os.path.abspath(recording))
    if isinstance(recording, Stored):
        root = recording.audio_root and recording.audio_root.absolute()
        return dataclasses.replace(recording, container=os.path.abspath(recording.container), audio_root=root)
    source = recording.source
    if isinstance(source, FilePart):
        return dataclasses.replace(recording, source=dataclasses.replace(source, path=os.path.abspath(source.path)))
    return dataclasses.replace(recording, source=os.path.abspath(source)) if isinstance(source, str) else recording
