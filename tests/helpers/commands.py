"""The command `urgentmos` in a test: a recording to give it, its exit status, rows and errors."""

import json
from pathlib import Path

import soundfile

from tests.helpers.corpus import speech_like
from urgentmos_jax.cli import main


def write_recording(path: Path, seed: int, samples: int = 8000, rate: int = 16000) -> Path:
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
