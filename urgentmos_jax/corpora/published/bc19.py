"""BC19: Mandarin speech synthesis from the Blizzard Challenge 2019, the out-of-domain track of VoiceMOS 2022."""

from urgentmos_jax.corpora.voicemos_lists import voicemos_corpus

CORPUS = voicemos_corpus(
    "bc19",
    "ood",
    holds="naturalness of Mandarin TTS, ratings",
    size="16 kHz, train 0.32 h",
    splits={"train": 136, "dev": 136, "test": 540},
)
