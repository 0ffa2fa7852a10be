"""The authors' side files of a split, joined to its utterances by id: `<metric>.scp`, `utt2dur` and `meta.jsonl`.

They are published as the hub dataset urgent-challenge/vmc2026-track1-meta, in `<corpus>/<split>/`. Their ids are those
of `split.make_uid`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from urgentmos_jax.corpora.split import Split
from urgentmos_jax.manifests.durations import DURATION_TOLERANCE_SECONDS
from urgentmos_jax.manifests.lines import json_lines
from urgentmos_jax.manifests.records import LABEL_DECIMALS, ManifestError, Utterance
from urgentmos_jax.manifests.tables import Position, read_scp
from urgentmos_jax.metrics import CATALOGUE

_OTHER = ("wav.scp",)
_MIN_MATCHED = 0.5


class SideFiles:
    """Side files of a split of a corpus; the folder holds `<corpus>/<split>/`, `<split>/` or the files themselves.

    Raises:
        ManifestError: There are no side files.
    """

    def __init__(self, folder: Path, corpus: str, split: str):
        tries = [folder / corpus / split, folder / split, folder]
        found = next((path for path in tries if (path / "meta.jsonl").exists() or any(path.glob("*.scp"))), None)
        if found is None:
            raise ManifestError([f"{folder}: no side files (.scp, meta.jsonl) in {', '.join(map(str, tries))}"])
        self.folder = found

    def join(self, utterances: Sequence[Utterance], split: Split) -> dict[str, dict[str, int]]:
        """Adds labels and `meta` that utterances of the split do not have, in place; it receives faults and notes.

        Returns:
            {file: {"matched", "not_in_corpus", "without"}}: number of ids among the utterances, of ids not in the
            split, and of utterances without an entry.
        """
        by_uid = {utterance.uid: utterance for utterance in utterances}
        every = {recording.uid for recording in split.recordings.values()}
        counts = {}
        for path in sorted(self.folder.glob("*.scp")):
            if path.name in _OTHER:
                continue
            if path.stem not in CATALOGUE:
                split.notes[f"side file {path.name} is not a known metric; left out"] += 1
                continue
            values = read_scp(path, split)
            counts[path.name] = self._matched(path, values.keys(), by_uid, every, split)
            for uid in values.keys() & by_uid.keys():
                position, value = values[uid]
                if not split.fits(position, path.stem, value):
                    continue
                known = by_uid[uid].metrics.setdefault(path.stem, round(value, LABEL_DECIMALS))
                if abs(known - value) > 1e-3:
                    split.notes[f"{path.name} differs from the corpus's own {path.stem}, which is kept"] += 1
        if (path := self.folder / "utt2dur").exists():
            values = read_scp(path, split)
            counts[path.name] = self._matched(path, values.keys(), by_uid, every, split)
            for uid in values.keys() & by_uid.keys():
                if abs(values[uid][1] - by_uid[uid].duration) > DURATION_TOLERANCE_SECONDS:
                    split.notes["utt2dur is more than 0.5 s off the recording, whose own length is kept"] += 1
        if (path := self.folder / "meta.jsonl").exists():
            counts[path.name] = self._join_meta(path, by_uid, every, split)
        return counts

    def _matched(
        self, path: Path, uids: Any, by_uid: dict[str, Utterance], every: set[str], split: Split
    ) -> dict[str, int]:
        there, matched = len(uids & every), len(uids & by_uid.keys())
        if there < _MIN_MATCHED * len(uids):
            text = f"only {there} of its {len(uids)} ids are in the corpus, such as {next(iter(by_uid), '')!r}"
            split.fault(Position(str(path), 0), f"{text}; is it the file of another split?")
        return {"matched": matched, "not_in_corpus": len(uids) - there, "without": len(by_uid) - matched}

    def _join_meta(self, path: Path, by_uid: dict[str, Utterance], every: set[str], split: Split) -> dict[str, int]:
        entries: dict[str, dict[str, Any]] = {}
        for line, entry in json_lines(path):
            if isinstance(entry, str) or not isinstance(entry.get("uid"), str):
                split.fault(Position(str(path), line), entry if isinstance(entry, str) else "no uid (a string)")
                continue
            entries[entry.pop("uid")] = entry
        for uid in entries.keys() & by_uid.keys():
            meta = by_uid[uid].meta
            meta.update({key: value for key, value in entries[uid].items() if key not in meta})
        return self._matched(path, entries.keys(), by_uid, every, split)
