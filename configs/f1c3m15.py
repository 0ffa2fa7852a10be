"""F1C3M15: one encoder, three categories, fifteen metrics (UrgentMOS, arXiv 2601.18438).

The three categories (naturalness, intelligibility, speaker similarity) and the number of metrics are the paper's, and
so are the five metrics of F1C1M5 among them. The other ten, and what category each belongs to, are our reading: the
objective metrics of the URGENT challenges, whose corpora carry them. Ranges are those of `urgentmos_jax.metrics`.
Comparisons are by human MOS, on the features of naturalness.

No one has trained this config with this code yet: expected are the figures of that row of the paper.

    python -m launch.train --config configs/f1c3m15.py --workdir runs/f1c3m15 --export my_model
"""

from ml_collections import ConfigDict

from configs import common, f1c1m5_d_corpus


def get_config() -> ConfigDict:
    """The run."""
    config = f1c1m5_d_corpus.get_config()
    config.data.train += (
        "urgent2024-sqa/train",  # metrics as published, hardly any mos_overall
        "urgent2025-sqa/train",  # metrics as published, hardly any mos_overall
    )
    predictors = ("scoreq", "utmos", "nisqa_mos", "distill_mos", "dnsmos_ovrl", "sigmos_ovrl")
    config.model.categories = dict(
        naturalness=common.metrics("mos_overall", comparative=True)
        | common.metrics(*predictors, "pesq", "sdr", "lsd", "mcd"),
        intelligibility=common.metrics("estoi", "lps", "sbert"),
        speaker_similarity=common.metrics("spksim"),
    )
    return config
