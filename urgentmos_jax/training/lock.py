"""One run at a time in a folder."""

import errno
import fcntl
import json
import logging
import os
import socket
from pathlib import Path
from typing import Any

__all__ = ["FolderInUse", "FolderLock"]

logger = logging.getLogger(__name__)

NAME = ".lock"


class FolderInUse(RuntimeError):
    """Another process runs in this folder; the message names its host and process id."""


class FolderLock:
    """Holds a folder until `release`, or until this process ends in whatever way.

    The operating system holds the lock (`flock`), so that one left by a dead process does not stand in the way; the
    file says who holds it.

    Args:
        folder: Exists.

    Raises:
        FolderInUse: another process holds it.
    """

    def __init__(self, folder: Path):
        self._path = Path(folder) / NAME
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder()
            os.close(self._file)
            raise FolderInUse(
                f"{folder} is in use by process {holder.get('pid', '?')} on {holder.get('host', '?')}; wait for it to "
                f"end, stop it, or give another --workdir"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            logger.warning("%s: this file system has no locks; take care that no second run uses the folder", folder)
        if before := self._holder():
            logger.info("lock of process %s on %s taken over, it has ended", before.get("pid"), before.get("host"))
        text = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}) + "\n"
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, text.encode(), 0)

    def _holder(self) -> dict[str, Any]:
        try:
            found = json.loads(os.pread(self._file, 1000, 0))
            return found if isinstance(found, dict) else {}
        except ValueError:
            return {}

    def release(self) -> None:
        """Lets others in."""
        os.ftruncate(self._file, 0)
        os.close(self._file)
