"""BC19: Mandarin speech synthesis from the Blizzard Challenge 2019, the out-of-domain track of VoiceMOS 2022."""

from functools import partial

from urgentmos_jax.corpora.corpus import Corpus
from urgentmos_jax.corpora.downloads import Archive
from urgentmos_jax.corpora.voicemos_lists import LICENCE, TRANSCRIPTS, by_hand, read_list

CORPUS = Corpus(
    name="bc19",
    holds="naturalness of Mandarin TTS, ratings",
    protocol="naturalness",
    licence=LICENCE,
    size="16 kHz, train 0.32 h",
    home="https://zenodo.org/records/6572573",
    splits={"train": 136, "dev": 136, "test": 540},
    read=partial(read_list, track="ood"),
    downloads=(
        Archive(addresses=("https://zenodo.org/records/6572573/files/ood.tar.gz",), name="ood.tar.gz"),
        TRANSCRIPTS,
    ),
    by_hand=by_hand("ood"),
    top_folders=("ood",),
)
