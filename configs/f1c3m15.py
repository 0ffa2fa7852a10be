"""F1C3M15: one encoder, three categories, fifteen metrics (UrgentMOS, arXiv 2601.18438).

Not a row of the paper's v1, so no numbers are expected; its rows of fifteen metrics are `f1c1m15` and `f1c5m15`. This
config rests on a digest of the Interspeech version, which speaks of "categories like Naturalness, Intelligibility, and
Speaker Similarity", and on the metrics that the URGENT corpora carry. Which metrics those fifteen are, and what
category each belongs to, is our reading: it has SIGMOS where Table 1 has PESQ with corrigendum 2. Ranges are those of
`urgentmos_jax.metrics`. Comparisons are by human MOS, on the features of naturalness.

Cost: between `f1c1m15` and `f1c5m15`, which have one and five categories.

It follows the published code, and with `:paper` the paper, where the two differ: see `f1c5m15`.

    python -m launch.train --config configs/f1c3m15.py --workdir runs/f1c3m15 --export my_model
"""

from ml_collections import ConfigDict

from configs import common, f1c1m5_d_corpus


def get_config(recipe: str = "code") -> ConfigDict:
    """The run, by the `recipe` of the published code or of the paper."""
    config = f1c1m5_d_corpus.get_config(recipe)
    # Metrics as published, hardly any mos_overall.
    config.data.train = common.with_corpora(config.data.train, "urgent2024-sqa/train", "urgent2025-sqa/train")
    predictors = ("scoreq", "utmos", "nisqa_mos", "distill_mos", "dnsmos_ovrl", "sigmos_ovrl")
    config.model.categories = dict(
        naturalness=common.metrics("mos_overall", comparative=True)
        | common.metrics(*predictors, "pesq", "sdr", "lsd", "mcd"),
        intelligibility=common.metrics("estoi", "lps", "sbert"),
        speaker_similarity=common.metrics("spksim"),
    )
    return config
