"""Lists of the VoiceMOS Challenge 2022, which bc19 and bvcc share (zenodo 6572573).

No header; one rating a row: system, name of the recording, rating 1 to 5, an opaque id, a description of the listener.
The description includes age and gender, so only its hash is kept. The reference in the name of a recording is unique to
it; which recordings say the same is known from the clustered transcripts of UTMOS22, if their file is present.
"""

import hashlib
from functools import partial
from typing import Any

from urgentmos_jax.corpora.corpus import Corpus, Tree
from urgentmos_jax.corpora.downloads import Archive
from urgentmos_jax.corpora.split import Split, make_uid
from urgentmos_jax.manifests.tables import CsvFile

_LISTS = {"train": "TRAINSET", "dev": "DEVSET", "test": "TESTSET"}
_TRANSCRIPTS = "transcriptions_clustered.csv"
_ADDRESS = f"https://raw.githubusercontent.com/sarulab-speech/UTMOS22/master/strong/{_TRANSCRIPTS}"


def voicemos_corpus(name: str, track: str, **card: Any) -> Corpus:
    """The corpus of a track, main or ood; the rest is of its card."""
    scripts = "01_get.py, 02_gather.py and 03_preprocess.py"
    return Corpus(
        name=name,
        protocol="naturalness",
        licence="Blizzard, to be accepted",
        home="https://zenodo.org/records/6572573",
        read=partial(_read, track=track),
        downloads=(Archive.zenodo(6572573, f"{track}.tar.gz"), Archive((_ADDRESS,), _TRANSCRIPTS, unpack=False)),
        by_hand=f"accept the licence of the Blizzard Challenge, then run {scripts}, in this order, in SOURCE/{track}",
        top_folders=(track,),
        **card,
    )


def _read(tree: Tree, split: Split, *, track: str) -> None:
    file = CsvFile(tree.find(f"DATA/sets/{_LISTS[split.name]}"), None)
    clusters = _clusters(tree, split, track)
    for position, (system, name, score, _, listener, *_) in split.table(file, minimum=5):
        name = name if name.endswith(".wav") else f"{name}.wav"
        _, hyphen, reference = name.removesuffix(".wav").partition("-")
        if not hyphen or not reference or not system:
            split.fault(position, f"{system!r}, {name!r}: give a system and a name SYSTEM-UTTERANCE")
            continue
        rating = split.value(position, "mos_overall", score)
        if rating is None:
            continue
        ratings = {"mos_overall": [(hashlib.sha256(listener.encode()).hexdigest()[:8], rating)]}
        uid, cluster = make_uid(system, reference), clusters.get(name.removesuffix(".wav"))
        path = tree.audio(f"DATA/wav/{name}")
        split.add(position, name, path, uid=uid, system=system, reference=cluster, ratings=ratings)


def _clusters(tree: Tree, split: Split, track: str) -> dict[str, str]:
    """{name of a recording: what it says}, without recordings that belong to no cluster."""
    path = tree.find_or_none(_TRANSCRIPTS, f"DATA/sets/{_TRANSCRIPTS}", "DATA/sets/text")
    if path is None:
        split.notes[f"no {_TRANSCRIPTS} of UTMOS22, so no references"] += 1
        return {}
    file = CsvFile(path, ["wav_name", "track", "cluster"])
    split.sources[file.path] = file.sha256
    columns = [file.header.index(name) for name in ("wav_name", "track", "cluster")]
    rows = ([row[column] for column in columns] for _, row in file if len(row) == len(file.header))
    return {
        name.removesuffix(".wav"): f"{track}-{cluster}"
        for name, its_track, cluster in rows
        if its_track == track and cluster != "-1"
    }
