"""What must hold of each reader, whatever the bytes: an error of ours that names them, or values that are right."""

import dataclasses
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz import seeds, strict
from urgentmos_jax.audio.errors import CODES, AudioError
from urgentmos_jax.audio.loading import load_audio, probe
from urgentmos_jax.manifests.lists import read_list
from urgentmos_jax.manifests.naming import lists_pairs
from urgentmos_jax.manifests.reading import scan_pairs, scan_utterances
from urgentmos_jax.manifests.records import ManifestError
from urgentmos_jax.manifests.tables import CsvFile, RowChecks, is_blank
from urgentmos_jax.metrics import CATALOGUE
from urgentmos_jax.weights.safetensors import DamagedFile, read_safetensors
from urgentmos_jax.weights.torch_zip import UnsafeCheckpoint, read_torch_file

MANY_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class Target:
    """A reader: its name, the files it starts from, how it calls a file, and what it makes of one."""

    seeds: Callable[[], dict[str, bytes]]
    suffix: str
    read: Callable[[Path], tuple[str, Any]]


def read_audio(path: Path) -> tuple[str, Any]:
    """The code of an `AudioError`, or "read" and the clip."""
    try:
        assert probe(path) > 0
    except AudioError as error:
        assert error.code in CODES
    try:
        clip = load_audio(path)
    except AudioError as error:
        assert error.code in CODES and str(path) in str(error)
        return error.code, None
    assert clip.waveform.dtype == np.float32 and len(clip.waveform) >= 400
    assert np.isfinite(clip.waveform).all()
    return "read", clip


def read_manifest(path: Path) -> tuple[str, Any]:
    """ "refused" with the lines at fault, or "read"; what is read is what the strict reader has."""
    lines = strict.json_lines(path.read_bytes())
    pairs = lists_pairs(path)
    scan = (scan_pairs if pairs else scan_utterances)(path, check_files=False, allow_outside=True)
    named = _lines_of(scan.faults, path)
    assert named <= lines.keys() | {0} and (named or not scan.faults)
    read = {number for number, _ in scan.records}
    assert not read & named and read | named >= lines.keys(), "each line is read or named"
    for number, record in scan.records:
        wanted = lines[number]
        assert wanted is not None, f"line {number} is no JSON object to the strict reader"
        sides = zip(record.audio_paths, wanted["audio_paths"], strict=True) if pairs else [_path_of(record, wanted)]
        assert all(Path(found) == path.parent / given for found, given in sides)
        assert pairs or (record.uid, record.system_id or None) == (wanted["uid"], wanted.get("system_id") or None)
        for name, label in record.metrics.items():
            value = float(wanted["metrics"][name])
            low, high = _range(name, pairs)
            assert math.isfinite(value) and label == min(max(value, low), high)
        given = {name for name, value in (wanted.get("metrics") or {}).items() if value is not None}
        assert record.metrics.keys() == given
    return ("refused", sorted(named)) if scan.faults else ("read", len(read))


def _path_of(record: Any, wanted: dict[str, Any]) -> tuple[str, str]:
    return record.audio_path, wanted["audio_path"]


def _range(name: str, pairs: bool) -> tuple[float, float]:
    metric = CATALOGUE.get(name)
    if metric is None:
        return -math.inf, math.inf
    width = metric.maximum - metric.minimum
    return (-width, width) if pairs else (metric.minimum, metric.maximum)


def read_table(path: Path) -> tuple[str, Any]:
    """ "refused" or "read"; each cell and each number is what the strict reader has."""
    columns = ["uid", "audio_path", "mos_overall"]
    checks = RowChecks()
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = ""
    try:
        file = CsvFile(path, columns, delimiters=(",", "\t", ";"), strip=False)
        rows = [(place.line, row) for place, row in checks.table(file)]
    except ManifestError as error:
        _lines_of(error.faults, path)
        return "refused", str(error)
    wanted = strict.table(text, file.delimiter)
    assert wanted is not None, "quotes that the strict reader refuses"
    header, *wanted_rows = wanted
    assert file.header == header[1]
    named = _lines_of(checks.faults, path)
    assert named == {line for line, cells in wanted_rows if len(cells) != len(header[1])}
    whole = [(line, cells) for line, cells in wanted_rows if len(cells) == len(header[1])]
    assert [(line, list(row.values())) for line, row in rows] == [
        (line, list(dict(zip(header[1], cells, strict=True)).values())) for line, cells in whole
    ]
    for line, row in rows:
        cell = row["mos_overall"]
        before = len(checks.faults)
        value = checks.value(next(p for p, _ in file if p.line == line), "mos_overall", cell)
        if value is not None:
            assert strict.NUMBER.fullmatch(cell.strip()) and value == float(cell), cell
        else:
            assert is_blank(cell) or len(checks.faults) == before + 1
    if file.delimiter == ",":
        _check_list(path, [(row["uid"], row["audio_path"]) for _, row in rows])
    return ("refused", checks.faults) if checks.faults else ("read", len(rows))


def _check_list(path: Path, rows: list[tuple[str, str]]) -> None:
    """The same table as a list of recordings."""
    try:
        found = read_list(path)
    except ManifestError as error:
        _lines_of(error.faults, path)
        return
    wanted = [(uid.strip() or audio.strip(), path.parent / audio.strip()) for uid, audio in rows]
    assert [(uid, Path(audio)) for uid, audio in found] == wanted


def _lines_of(faults: list[str], path: Path) -> set[int]:
    """Lines that faults name; each names the file."""
    lines = set()
    for fault in faults:
        assert fault.startswith(str(path)), fault
        found = re.match(r":(\d+): ", fault.removeprefix(str(path)))
        lines.add(int(found[1]) if found else 0)
    return lines


def read_torch(path: Path) -> tuple[str, Any]:
    """ "refused", or "read" and plain data no larger than the file."""
    try:
        value = read_torch_file(path)
    except UnsafeCheckpoint as error:
        assert str(path) in str(error) and str(error).isascii() and len(str(error)) < 3000
        return "refused", str(error)
    _check_plain(value, path.stat().st_size, set())
    return "read", value


def _check_plain(value: Any, size: int, seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            _check_plain(part, size, seen)
    elif isinstance(value, np.ndarray):
        assert value.nbytes <= size and not value.flags.writeable
        value.astype(np.float64).sum()  # Reads each element: a view beyond its storage would crash.
    else:
        assert value is None or isinstance(value, str | int | float), type(value)


def read_safe(path: Path) -> tuple[str, Any]:
    """ "refused", or "read" and arrays no larger than the file."""
    try:
        value = read_safetensors(path)
    except DamagedFile as error:
        assert str(path) in str(error)
        return "refused", str(error)
    assert sum(array.nbytes for array in value.values()) <= path.stat().st_size
    for array in value.values():
        array.astype(np.float64).sum()
    return "read", value


TARGETS = {
    "audio": Target(seeds.audio, ".wav", read_audio),
    "manifests": Target(seeds.manifests, ".jsonl", read_manifest),
    "tables": Target(seeds.tables, ".csv", read_table),
    "torch": Target(seeds.torch_files, ".pt", read_torch),
    "safetensors": Target(seeds.safetensors_files, ".safetensors", read_safe),
}
