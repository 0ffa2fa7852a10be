"""F1C1M5, pairs by corpus: one encoder, one category, five metrics (UrgentMOS, arXiv 2601.18438).

The published recipe; its weights are urgent-challenge/urgent-mos-f1c1m5dcorpus. The paper states a constant learning
rate, the published configuration lets it fall linearly to 0: this one follows the configuration. The published batch is
300 s and at most 32 clips a GPU: with N of them set --config.batch.seconds to N times 300, and clips to N times 32.

    python -m launch.train --config configs/f1c1m5_d_corpus.py --workdir runs/f1c1m5_d_corpus --export my_model

`urgentmos prepare CORPUS --side-files META` makes the data: mos_overall is the corpora's own; scoreq, utmos, nisqa_mos
and distill_mos are scores of models that judge without a reference, from the authors' side files (META, the hub dataset
urgent-challenge/vmc2026-track1-meta). Validation uses dev splits; the published configuration used two test splits.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """The run."""
    config = common.base()
    config.update(
        data=dict(
            train=(  # Besides what is said of a corpus, the four metrics of the side files.
                "nisqa/train",  # mos_overall, means; noisiness, coloration, ... are there and not learnt
                "pstn/train",  # mos_overall, means
                "somos/train",  # mos_overall, ratings
                "speecheval/train",  # preferences of pairs
                "speechjudge/train",  # preferences of pairs
                "tcd-voip/train",  # mos_overall, ratings
                "tencent/train",  # mos_overall, means
                "tmhint-qi/train",  # mos_overall, ratings
                "ttsds2/train",  # mos_overall, ratings
            ),
            valid=("somos/dev", "speechjudge/dev"),
        ),
        model=dict(
            encoders=dict(wavlm=common.frozen("microsoft/wavlm-base-plus")),
            categories=dict(
                mos=common.metrics("mos_overall", comparative=True)
                | common.metrics("scoreq", "utmos", "nisqa_mos", "distill_mos")
            ),
        ),
    )
    return config
