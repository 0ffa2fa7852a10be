"""Downloads corpora, from plain addresses with resume and from the hub, and records what was fetched.

`downloads.json` beside the files records the date, address, size and SHA-256 of each download, and of the hub the
commit. What it lists and is still there is not fetched again, even if the archive itself was deleted.
"""

import contextlib
import datetime
import hashlib
import http.client
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urgentmos_jax.corpora.unpacking import DownloadError, require_space, unpack
from urgentmos_jax.files import progress, write_json
from urgentmos_jax.version import __version__

RECORD = "downloads.json"

_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60
_WAITS_SECONDS = (1, 4, 15, 60)


@dataclass(frozen=True)
class Archive:
    """A file at a public address.

    Args:
        addresses: Tried in order.
        name: Its name in the folder of the corpus.
        md5: As published, hexadecimal; None if unknown.
        sha256: As published, hexadecimal; None if unknown.
        nested: Archives inside it that are unpacked too.
        unpack: Whether it is an archive; False for a plain file.
    """

    addresses: tuple[str, ...]
    name: str
    md5: str | None = None
    sha256: str | None = None
    nested: tuple[str, ...] = ()
    unpack: bool = True

    @classmethod
    def zenodo(cls, record: int, name: str, **options: Any) -> "Archive":
        """A file of a record of Zenodo."""
        return cls((f"https://zenodo.org/records/{record}/files/{name}",), name, **options)


@dataclass(frozen=True)
class HubFile:
    """An archive in a hub dataset: id of the dataset, name of the file, archives inside it."""

    repo: str
    name: str
    nested: tuple[str, ...] = ()


@dataclass(frozen=True)
class HubDataset:
    """A hub dataset: its id, its folder below that of the corpus, whether its terms must be accepted first."""

    repo: str
    into: str = ""
    gated: bool = False


Download = Archive | HubFile | HubDataset


def download(wanted: Sequence[Download], folder: Path) -> list[dict[str, Any]]:
    """Downloads and unpacks what is not there yet; prints sizes and checksums on standard error.

    An archive that is already in the folder is used, if its checksum is right.

    Returns:
        The records, as in `downloads.json`.

    Raises:
        DownloadError: A download failed, its checksum is wrong, or the disk is too small; earlier downloads stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECORD
    records = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    keys = [one.repo if isinstance(one, HubDataset) else one.name for one in wanted]
    for key, one in zip(keys, wanted, strict=True):
        if key in records and all((folder / name).exists() for name in records[key]["holds"]):
            _tell(f"{key}: already here since {records[key]['date']}")
        else:
            records[key] = _fetch(one, folder)
            write_json(path, records)
    return [records[key] for key in keys]


def _fetch(one: Download, folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = {"date": datetime.date.today().isoformat()}
    if isinstance(one, HubDataset):
        return record | _fetch_dataset(one, folder)
    path = folder / one.name
    if path.exists():
        record["address"] = "by hand"
    elif isinstance(one, HubFile):
        record |= _fetch_hub_file(one, folder)
    else:
        record["address"] = _fetch_address(one, path)
    digests = _digests(path)
    for name in ("md5", "sha256"):
        published = getattr(one, name, None)
        if published and digests[name] != published:
            path.unlink()
            text = f"its {name} is {digests[name]}, but {published} is published"
            raise DownloadError(f"{path}: {text}; the file was removed, try again")
    size = path.stat().st_size
    _tell(f"{path}: {size:,} bytes, sha256 {digests['sha256']}")
    record |= {"size_bytes": size, **digests, "holds": [one.name]}
    if getattr(one, "unpack", True):
        record["holds"] = unpack(path, folder, nested=one.nested)
        _tell(f"{path}: unpacked; the archive is no longer needed")
    return record


def _fetch_address(one: Archive, path: Path) -> str:
    """Downloads to `path`; returns the address that worked."""
    faults = []
    for address in one.addresses:
        try:
            _get(address, path)
            return address
        except urllib.error.HTTPError as error:
            faults.append(f"{address}: {error.code} {error.reason}")
        except (OSError, http.client.HTTPException) as error:
            faults.append(f"{address}: {getattr(error, 'reason', None) or error or type(error).__name__}")
    listed = "\n  ".join(faults)
    raise DownloadError(f"{path}: not downloaded; what arrived is kept. Try again, or put it there by hand\n  {listed}")


def _get(address: str, path: Path) -> None:
    """Downloads an address, resuming an earlier attempt, and retries where the connection breaks."""
    part, state = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json")
    for wait in (*_WAITS_SECONDS, None):
        try:
            _get_rest(address, part, state)
            part.replace(path)
            state.unlink(missing_ok=True)
            return
        except urllib.error.HTTPError as error:
            if wait is None or (error.code < 500 and error.code not in (408, 416, 429)):
                raise
            reason = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            if wait is None:
                raise
            reason = str(error) or type(error).__name__
        _tell(f"{address}: {reason}; retrying in {wait} s")
        time.sleep(wait)


def _get_rest(address: str, part: Path, state: Path) -> None:
    known = json.loads(state.read_text()) if state.exists() and part.exists() else {}
    start = part.stat().st_size if known.get("address") == address and known.get("validator") else 0
    request = urllib.request.Request(address, headers={"User-Agent": f"urgentmos_jax/{__version__}"})
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", known["validator"])
    try:
        reply = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        # The file was complete when an earlier attempt was stopped.
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{start}":
            return
        if error.code == 416:
            part.unlink()
        raise
    with reply:
        if reply.status != 206:
            start = 0
        length = reply.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        # A weak ETag promises equivalent files, not identical ones.
        etag = reply.headers.get("ETag", "")
        validator = etag if etag and not etag.startswith("W/") else reply.headers.get("Last-Modified", "")
        state.write_text(json.dumps({"address": address, "validator": validator}))
        name = part.name.removesuffix(".part")
        require_space(part.parent, 2 * (total or 0) - start, f"{name}, unpacked,")
        with progress(None, total, "B", name, start=start) as bar, part.open("r+b" if start else "wb") as file:
            file.seek(start)
            while block := reply.read(_BLOCK_BYTES):
                file.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size != total:
        raise ConnectionError(f"the connection ended at {part.stat().st_size:,} of {total:,} bytes")


def _digests(path: Path) -> dict[str, str]:
    found = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            for digest in found.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in found.items()}


def _fetch_hub_file(one: HubFile, folder: Path) -> dict[str, Any]:
    import huggingface_hub

    with _hub_errors(one.repo, folder, file=one.name):
        revision, sizes = _hub_files(one.repo)
        require_space(folder, 2 * sizes.get(one.name, 0), f"{one.name}, unpacked,")
        huggingface_hub.hf_hub_download(one.repo, one.name, repo_type="dataset", revision=revision, local_dir=folder)
    return {"address": f"{one.repo}/{one.name}", "revision": revision}


def _fetch_dataset(one: HubDataset, folder: Path) -> dict[str, Any]:
    import huggingface_hub

    target = folder / one.into
    target.mkdir(parents=True, exist_ok=True)
    with _hub_errors(one.repo, target, gated=one.gated):
        revision, sizes = _hub_files(one.repo)
        size = sum(sizes.values())
        require_space(target, size, one.repo)
        huggingface_hub.snapshot_download(one.repo, repo_type="dataset", revision=revision, local_dir=target)
    _tell(f"{target}: {one.repo} at {revision}, {size:,} bytes")
    holds = [str(Path(one.into, name)) for name in sizes]
    return {"address": one.repo, "revision": revision, "size_bytes": size, "holds": holds}


def _hub_files(repo: str) -> tuple[str | None, dict[str, int]]:
    """The newest commit of a hub dataset, and the bytes of each of its files."""
    import huggingface_hub

    info = huggingface_hub.HfApi().dataset_info(repo, files_metadata=True)
    return info.sha, {file.rfilename: file.size or 0 for file in info.siblings or ()}


@contextlib.contextmanager
def _hub_errors(repo: str, target: Path, *, file: str = "", gated: bool = False) -> Iterator[None]:
    """Errors of the hub, its HTTP client and the disk, which have no common base, as `DownloadError`."""
    from huggingface_hub.errors import GatedRepoError

    try:
        yield
    except DownloadError:
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        advice = f"`hf download {repo} {file}{' ' * bool(file)}--repo-type dataset --local-dir {target}`"
        if gated or isinstance(error, GatedRepoError):
            terms = f"accept its terms at https://huggingface.co/datasets/{repo}, create a token there"
            advice = f"It is gated: {terms}, run `hf auth login`, and run this command again; or {advice}"
        else:
            advice = f"Without a network, run {advice} elsewhere"
        raise DownloadError(f"{repo}: cannot be downloaded ({reason}). {advice}") from None


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
