"""Clips that cannot be loaded during a run: logged once, listed each time, and a run with too many of them stops."""

import logging
from collections.abc import Sequence
from pathlib import Path

import jax

from urgentmos_jax.data.batching import LoadedBatch
from urgentmos_jax.files import append_json_lines
from urgentmos_jax.manifests.skipping import max_bad
from urgentmos_jax.training import topology

logger = logging.getLogger(__name__)


class TooManyBadItems(RuntimeError):
    """More clips failed to load than the config allows."""


class SkippedClips:
    """Counts the clips that failed, over all hosts.

    Args:
        workdir: Gets `skipped.jsonl`; of hosts other than the first `skipped.<host>.jsonl`.
        count: Clips of the training set.
        max_bad_fraction: Part of them that may fail; one always may.
        strict: None may fail.
    """

    def __init__(self, workdir: Path, count: int, *, max_bad_fraction: float, strict: bool):
        self._file = workdir / ("skipped.jsonl" if topology.is_first() else f"skipped.{jax.process_index()}.jsonl")
        self._count, self._strict = count, strict
        self._max = 0 if strict else max_bad(count, max_bad_fraction)
        self._uids: set[str] = set()

    def add(self, batches: Sequence[LoadedBatch]) -> None:
        """Takes the skipped clips of some batches; with one host it also does what `check` does."""
        skipped = [one for batch in batches for one in batch.skipped]
        if not skipped:
            return
        append_json_lines(self._file, skipped)
        for one in skipped:
            if one["uid"] not in self._uids:
                self._uids.add(one["uid"])
                logger.warning("skipped %s: %s", one["uid"], one["message"])
        if topology.host_count() == 1:
            self.check()

    def check(self) -> None:
        """Stops all hosts at the same update where too many clips failed.

        Raises:
            TooManyBadItems: with their number and the file that lists them.
        """
        failed = len({uid for of_host in topology.gather_json(sorted(self._uids)) for uid in of_host})
        if failed > self._max:
            allowed = "--strict allows none" if self._strict else f"data.most_bad allows {self._max}"
            raise TooManyBadItems(
                f"{failed} of {self._count} clips failed to load, {allowed}; they are listed in {self._file}"
            )
