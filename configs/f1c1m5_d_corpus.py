"""F1C1M5, pairs by corpus: one encoder, one category, five metrics (UrgentMOS, arXiv 2601.18438).

The published recipe; its weights are urgent-challenge/urgent-mos-f1c1m5dcorpus. `urgentmos prepare CORPUS --side-files
META` makes the data: mos_overall is the corpora's own; scoreq, utmos, nisqa_mos and distill_mos are scores of models
that judge without a reference, from the authors' side files (META, the hub dataset
urgent-challenge/vmc2026-track1-meta).

Expected: row F1C1M5-corpus of arXiv 2601.18438 v1 (Tables 4, 5, 9, 10), whose runs differ among themselves by .02 to
.06. No one has trained this config with this code yet.

    set          acc_0.5   acc_0     LCC    SRCC
    SOMOS           0.59    0.72    0.65    0.63
    TMHINT-QI       0.62    0.77    0.80    0.76
    URGENT24        0.58    0.68    0.77    0.77
    SpeechEval      0.81    0.89       -       -
    SpeechJudge     0.63    0.63       -       -
    BVCC               -       -    0.86    0.86
    BC19               -       -    0.80    0.77
    P501            0.79    0.90    0.93    0.94
    FOR             0.79    0.88    0.93    0.92
    LIVETALK           -       -    0.82    0.79
    CHiME-7         0.64    0.77    0.76    0.75
    URGENT25        0.58    0.70    0.74    0.74

Cost: 2.16 iterations a second on an A100, each of about 400 s of audio (Table 6, as F1C1M5-ref): 20,000 take 2.6 h,
60,000 7.7 h.

Where paper and published code differ, this file follows the code, and `:paper` the paper. Paper: 20,000 updates (v1;
60,000 in the Interspeech version) of about 400 s, a constant learning rate, thirteen corpora, errors averaged over
metrics (the same with one category). Code: 100 epochs, 300 s and at most 32 clips a GPU, a rate falling linearly to 0,
nine corpora, errors averaged over the metrics of each category, then over categories. A batch is that of one GPU: with
N of them set --config.batch.seconds to N times 300, and clips to N times 32. Validation uses dev splits, the code's two
test splits.

    python -m launch.train --config configs/f1c1m5_d_corpus.py --workdir runs/f1c1m5_d_corpus --export my_model
    python -m launch.train --config configs/f1c1m5_d_corpus.py:paper --workdir runs/f1c1m5_d_corpus --export my_model
    urgentmos evaluate data/somos/test/data.jsonl --model my_model --paper F1C1M5-corpus
"""

from ml_collections import ConfigDict

from configs import common


def get_config(recipe: str = "code") -> ConfigDict:
    """The run, by the `recipe` of the published code or of the paper."""
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
    return common.by_recipe(config, recipe)
