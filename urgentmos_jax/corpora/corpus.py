"""What a corpus is: its card, its splits, and the files below its folder."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from urgentmos_jax.corpora.downloads import Download
from urgentmos_jax.corpora.split import Split
from urgentmos_jax.manifests.reading import ManifestError

__all__ = ["MIRROR", "Corpus", "Tree"]

# Hub dataset with copies of corpora, for those whose own homes have no lasting address.
MIRROR = "urgent-challenge/urgent26_track2_sqa"


class Tree:
    """The files of a corpus, which may lie below the folder at the top of its archive or without it.

    Args:
        root: The folder of the corpus.
        top_folders: Folders at the top of its archives.
        audio_root: Where recordings are looked up that are not below `root`.
        extracted: Folder for recordings that are embedded in tables.
    """

    def __init__(
        self,
        root: Path,
        top_folders: tuple[str, ...] = (),
        *,
        audio_root: Path | None = None,
        extracted: Path | None = None,
    ):
        self.root, self.extracted = root, extracted
        self._folders = [root, *(root / top for top in top_folders)]
        self._audio = [*self._folders] if audio_root is None else [*self._folders, audio_root]
        self._audio += [] if audio_root is None else [audio_root / top for top in top_folders]

    def find(self, *names: str) -> Path:
        """The first of these files or folders that is there.

        Raises:
            ManifestError: None is; with all that was looked for.
        """
        tries = [folder / name for folder in self._folders for name in names]
        for path in tries:
            if path.exists():
                return path
        listed = ", ".join(map(str, tries))
        raise ManifestError([f"{self.root}: not the folder of this corpus, none of these is there: {listed}"])

    def find_or_none(self, *names: str) -> Path | None:
        """As `find`, for what may be missing."""
        return next((folder / name for folder in self._folders for name in names if (folder / name).exists()), None)

    def audio(self, *names: str) -> str:
        """Path of a recording; the first place where it could be, if it is in none."""
        tries = [os.path.join(folder, name) for folder in self._audio for name in names]
        return tries[0] if len(tries) == 1 else next(filter(os.path.exists, tries), tries[0])


@dataclass(frozen=True)
class Corpus:
    """A published corpus.

    Attributes:
        name: As configs call it.
        holds: What was rated and how.
        protocol: What listeners were asked: "naturalness", "quality", "preference".
        licence: Its name.
        size: Hours, sampling rate.
        home: Where it is published.
        splits: {split: utterances or pairs it has as published, None where unknown}.
        read: Fills a split from the files.
        downloads: What can be fetched; empty where nothing can.
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
