"""What a corpus is: its card, its splits, and its files."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from urgentmos_jax.corpora.downloads import Download
from urgentmos_jax.corpora.split import Split
from urgentmos_jax.manifests.records import ManifestError

# Hub dataset with copies of corpora that have no lasting address of their own.
MIRROR = "urgent-challenge/urgent26_track2_sqa"


class Tree:
    """The files of a corpus, with or without the folder at the top of its archive.

    Args:
        root: The folder of the corpus.
        top_folders: Folders at the top of its archives.
        audio_root: Where recordings are looked for that are not below `root`.
        extracted: Folder for recordings that are embedded in tables.
    """

    def __init__(
        self, root: Path, top_folders: tuple[str, ...] = (), *, extracted: Path, audio_root: Path | None = None
    ):
        self.root, self.extracted = root, extracted
        self._folders = [root, *(root / top for top in top_folders)]
        self._audio = [*self._folders] if audio_root is None else [*self._folders, audio_root]
        self._audio += [] if audio_root is None else [audio_root / top for top in top_folders]

    def find(self, *names: str) -> Path:
        """The first of these files or folders that exists.

        Raises:
            ManifestError: None does; lists all paths that were tried.
        """
        if found := self.find_or_none(*names):
            return found
        listed = ", ".join(str(folder / name) for folder in self._folders for name in names)
        raise ManifestError([f"{self.root}: not the folder of this corpus: none of these exists: {listed}"])

    def find_or_none(self, *names: str) -> Path | None:
        """Like `find`, for files that may be missing."""
        return next((folder / name for folder in self._folders for name in names if (folder / name).exists()), None)

    def audio(self, *names: str) -> str:
        """Path of a recording; the first candidate if it does not exist."""
        tries = [os.path.join(folder, name) for folder in self._audio for name in names]
        return tries[0] if len(tries) == 1 else next(filter(os.path.exists, tries), tries[0])


@dataclass(frozen=True)
class Corpus:
    """A published corpus.

    Attributes:
        name: Its name in commands and configs.
        holds: What was rated, and how.
        protocol: What listeners were asked: "naturalness", "quality", "preference".
        licence: Its name.
        size: Hours and sample rate.
        home: Where it is published.
        splits: {split: number of utterances or pairs as published, None if unknown}.
        read: Fills a split from the files.
        downloads: What can be downloaded; may be empty.
        by_hand: What has to be done by hand.
        top_folders: Folders at the top of its archives.
        pairs: Whether it holds comparisons instead of ratings.
    """

    name: str
    holds: str
    protocol: str
    licence: str
    size: str
    home: str
    splits: Mapping[str, int | None]
    read: Callable[[Tree, Split], None]
    downloads: tuple[Download, ...] = ()
    by_hand: str = ""
    top_folders: tuple[str, ...] = ()
    pairs: bool = False
