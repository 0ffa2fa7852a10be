"""F1C3M15: one encoder, three categories, fifteen metrics (UrgentMOS, arXiv 2601.18438).

The three categories (naturalness, intelligibility, speaker similarity) and the number of metrics are the paper's, and
so are the five metrics of F1C1M5 among them. The other ten, and what category each belongs to, are our reading: the
objective metrics of the URGENT challenges, whose corpora carry them. Ranges are those of `urgentmos_jax.metrics`.
Comparisons are by human MOS, on the features of naturalness.

No one has trained this config with this code yet: expected are the figures of that row of the paper.

    python -m launch.train --config configs/f1c3m15.py --workdir runs/f1c3m15 --export my_model
"""

import math

from ml_collections import ConfigDict

from configs import f1c1m5_d_corpus


def get_config() -> ConfigDict:
    """The run."""
    one_to_five = dict(minimum=1.0, maximum=5.0, comparative=False)
    distance = dict(minimum=0.0, maximum=math.inf, comparative=False)
    config = f1c1m5_d_corpus.get_config()
    config.data.train += (
        "urgent2024-sqa/train",  # metrics as published, hardly any mos_overall
        "urgent2025-sqa/train",  # metrics as published, hardly any mos_overall
    )
    del config.model.categories.mos
    config.model.categories.update(
        naturalness=dict(
            mos_overall=dict(minimum=1.0, maximum=5.0, comparative=True),
            scoreq=one_to_five,
            utmos=one_to_five,
            nisqa_mos=one_to_five,
            distill_mos=one_to_five,
            dnsmos_ovrl=one_to_five,
            sigmos_ovrl=one_to_five,
            pesq=dict(minimum=1.0, maximum=4.5, comparative=False),
            sdr=dict(minimum=-math.inf, maximum=math.inf, comparative=False),
            lsd=distance,
            mcd=distance,
        ),
        intelligibility=dict(
            estoi=dict(minimum=0.0, maximum=1.0, comparative=False),
            lps=dict(minimum=-math.inf, maximum=1.0, comparative=False),
            sbert=dict(minimum=-1.0, maximum=1.0, comparative=False),
        ),
        speaker_similarity=dict(spksim=dict(minimum=-1.0, maximum=1.0, comparative=False)),
    )
    return config
