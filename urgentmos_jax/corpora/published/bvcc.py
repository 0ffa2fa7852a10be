"""BVCC: English speech synthesis and voice conversion from many challenges, the main track of VoiceMOS 2022."""

from urgentmos_jax.corpora.voicemos_lists import voicemos_corpus

CORPUS = voicemos_corpus(
    "bvcc",
    "main",
    holds="naturalness of English TTS and voice conversion, ratings",
    size="16 kHz, train 5.56 h",
    splits={"train": 4974, "dev": 1066, "test": 1066},
)
