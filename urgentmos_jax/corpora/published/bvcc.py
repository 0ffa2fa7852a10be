"""BVCC: English speech synthesis and voice conversion from many challenges, the main track of VoiceMOS 2022."""

from functools import partial

from urgentmos_jax.corpora.corpus import Corpus
from urgentmos_jax.corpora.downloads import Archive
from urgentmos_jax.corpora.voicemos_lists import LICENCE, TRANSCRIPTS, by_hand, read_list

CORPUS = Corpus(
    name="bvcc",
    holds="naturalness of English TTS and voice conversion, ratings",
    protocol="naturalness",
    licence=LICENCE,
    size="16 kHz, train 5.56 h",
    home="https://zenodo.org/records/6572573",
    splits={"train": 4974, "dev": 1066, "test": 1066},
    read=partial(read_list, track="main"),
    downloads=(
        Archive(addresses=("https://zenodo.org/records/6572573/files/main.tar.gz",), name="main.tar.gz"),
        TRANSCRIPTS,
    ),
    by_hand=by_hand("main"),
    top_folders=("main",),
)
