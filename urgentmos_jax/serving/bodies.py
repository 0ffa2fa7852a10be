"""What a request holds: its query, its multipart or JSON body, paths below the root."""

import base64
import binascii
import io
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from urgentmos_jax.files import parse_json
from urgentmos_jax.scoring.model import Model
from urgentmos_jax.serving.batcher import Options
from urgentmos_jax.serving.limits import Limits, bad_request, too_large, unprocessable
from urgentmos_jax.serving.recordings import Recording

_QUERY = {"score": ("frames", "metrics"), "compare": ("order", "metrics")}
_ITEM = 'an object {"base64": "...", "uid": "..."} or {"path": "...", "uid": "..."}, uid not needed'


@dataclass(frozen=True)
class Asked:
    """The recordings that a request is about, not loaded yet; of pairs A and B one after the other, and their uids."""

    recordings: list[Recording]
    uids: list[str | None] = field(default_factory=list)


def read_query(query: Sequence[tuple[str, str]], kind: str, model: Model) -> Options:
    """Options of a request.

    Args:
        query: Names and values.
        kind: "score" or "compare".
        model: Has the metrics.

    Raises:
        Refused: An unknown name or value.
    """
    found = dict(query)
    if len(found) < len(query) or (unknown := found.keys() - set(_QUERY[kind])):
        names = sorted(unknown) if len(found) == len(query) else "a name that comes twice"
        raise bad_request(f"the query has {names}; /{kind} knows {', '.join(_QUERY[kind])}, each once")
    known = model.comparative_metrics if kind == "compare" else model.metrics
    if kind == "compare" and not known:
        raise unprocessable("this model has no CMOS head; score both recordings instead")
    metrics = None
    if "metrics" in found:
        metrics = tuple(name.strip() for name in found["metrics"].split(",") if name.strip())
        if unknown_metrics := [name for name in metrics if name not in known]:
            raise unprocessable(f"metrics {unknown_metrics} are not among those of the model: {', '.join(known)}")
        if not metrics:
            raise bad_request("metrics is empty; give A,B or leave it out")
    frames, order = found.get("frames", "false"), found.get("order", "both")
    if frames not in ("true", "false"):
        raise bad_request(f"frames is {frames!r}, it must be true or false")
    if order not in ("both", "ab"):
        raise bad_request(f"order is {order!r}, it must be both or ab")
    return Options(kind == "compare", frames == "true", "ab" if order == "ab" else "both", metrics)


async def read_multipart(
    headers: Mapping[str, str], body: AsyncGenerator[bytes, None], kind: str, model: Model, limits: Limits
) -> Asked:
    """The fields `files` of a form, held in memory.

    Args:
        headers: Of the request.
        body: Parts of it, as they come.
        kind: "score" or "compare"; of the latter two files each are a pair.
        model: Says how short a recording may be.
        limits: Say how many there may be.

    Raises:
        Refused: It is not such a form.
    """
    from python_multipart.exceptions import FormParserError
    from starlette.datastructures import Headers, UploadFile
    from starlette.formparsers import MultiPartException, MultiPartParser

    most = limits.max_files * (2 if kind == "compare" else 1)
    parser = MultiPartParser(Headers(headers), body, max_files=most, max_fields=0)
    parser.spool_max_size = limits.max_bytes + 1  # Nothing of a request is written to disk.
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise too_large(f"more than {limits.max_files} {_noun(kind)}; send them in several requests") from None
        if error.message.startswith("Too many fields"):
            raise unprocessable("a part has no filename; send recordings as files, and options in the query") from None
        raise bad_request(f"the form cannot be read: {error.message}") from None
    except FormParserError as error:  # Of earlier versions of Starlette.
        raise bad_request(f"the form cannot be read: {error}") from None
    recordings = []
    for index, (name, part) in enumerate(form.multi_items()):
        if name != "files" or not isinstance(part, UploadFile):
            raise unprocessable(f"the form has a field {name!r}; recordings are fields named files")
        uid = part.filename or f"file-{index}"
        recordings.append(Recording(uid, io.BytesIO(part.file.read()), min_samples=model.min_samples))
        part.file.close()
    if not recordings:
        raise unprocessable("the form has no field named files; give at least one recording")
    if kind == "score":
        return Asked(recordings)
    if len(recordings) % 2:
        raise unprocessable(f"{len(recordings)} files; send A and B of each pair one after the other")
    return Asked(recordings, [None] * (len(recordings) // 2))


def read_json(body: bytes, kind: str, model: Model, limits: Limits, root: Path | None) -> Asked:
    """The recordings of a JSON body: `{"files": [ITEM, ...]}`, or `{"pairs": [[ITEM, ITEM], ...]}` to compare.

    Args:
        body: UTF-8.
        kind, model, limits: See `read_multipart`.
        root: Folder below which paths lie; None refuses them.

    Raises:
        Refused: It is not such a body, or a path leads out of the root.
    """
    try:
        content = parse_json(body.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise bad_request("the body is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is not JSON: {error}") from None
    key = _noun(kind)
    if not isinstance(content, dict) or content.keys() != {key} or not isinstance(content[key], list):
        wanted = _ITEM if kind == "score" else f"[A, B], each {_ITEM}"
        raise unprocessable(
            f'expected {{"{key}": [...]}} and nothing else (options go into the query); each is {wanted}'
        )
    items = content[key]
    if not items:
        raise unprocessable(f"{key} is empty; give at least one")
    if len(items) > limits.max_files:
        raise too_large(f"{len(items)} {key}, at most {limits.max_files}; send them in several requests")
    if kind == "score":
        return Asked([_recording(item, f"files[{i}]", i, model, root) for i, item in enumerate(items)])
    recordings = []
    for i, pair in enumerate(items):
        if not isinstance(pair, list) or len(pair) != 2:
            raise unprocessable(f"pairs[{i}] is not a list of two, A and B")
        recordings += [_recording(side, f"pairs[{i}][{j}]", 2 * i + j, model, root) for j, side in enumerate(pair)]
    return Asked(recordings, [None] * len(items))


def _noun(kind: str) -> str:
    return "pairs" if kind == "compare" else "files"


def _recording(item: Any, where: str, index: int, model: Model, root: Path | None) -> Recording:
    """A recording of an item of a JSON body."""
    if not isinstance(item, dict) or not all(isinstance(value, str) for value in item.values()):
        raise unprocessable(f"{where} is not {_ITEM}")
    kinds = item.keys() & {"base64", "path"}
    if len(kinds) != 1 or item.keys() - {"base64", "path", "uid"}:
        raise unprocessable(f"{where} has {sorted(item)}; give {_ITEM}")
    if "path" in item:
        return Recording(
            str(item.get("uid", item["path"])), below(root, item["path"], where), path=item["path"],
            min_samples=model.min_samples,
        )  # fmt: skip
    try:
        data = base64.b64decode(item["base64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise unprocessable(f"{where}: base64 cannot be decoded: {error}") from None
    return Recording(item.get("uid", f"file-{index}"), io.BytesIO(data), min_samples=model.min_samples)


def below(root: Path | None, path: str, where: str) -> Path:
    """The file of a path below the root, links followed.

    Args:
        root: Folder; None: there are no paths.
        path: Relative.
        where: It stands, for the message.

    Raises:
        Refused: It leads out of the root.
    """
    if root is None:
        raise bad_request(f"{where}: this service reads no paths (no --root was stated); send the recording itself")
    try:
        found = Path(os.path.realpath(root / path)) if path and not os.path.isabs(path) else None
        if found and found.is_relative_to(os.path.realpath(root)):
            return found
    except (OSError, ValueError):  # NUL in a path; a circle of links.
        pass
    raise bad_request(f"{where}: {path!r} does not lie below the root of this service; give a relative path within it")
