"""F1C5M15, pairs by reference: one encoder, five categories, fifteen metrics (UrgentMOS, arXiv 2601.18438).

Metrics, ranges and categories are those of Table 1, PESQ with corrigendum 2 (pesqc2) among them. Comparisons are by
human MOS, on the features of naturalness. The objective metrics come with the URGENT corpora.

Expected: row F1C5M15-ref of arXiv 2601.18438 v1 (Tables 4, 5, 9, 10), whose runs differ among themselves by .02 to .06.
No one has trained this config with this code yet.

    set          acc_0.5   acc_0     LCC    SRCC
    SOMOS           0.57    0.70    0.62    0.61
    TMHINT-QI       0.62    0.76    0.80    0.75
    URGENT24        0.59    0.69    0.79    0.78
    SpeechEval      0.82    0.89       -       -
    SpeechJudge     0.71    0.71       -       -
    BVCC               -       -    0.85    0.85
    BC19               -       -    0.82    0.78
    P501            0.80    0.90    0.93    0.94
    FOR             0.79    0.88    0.93    0.92
    LIVETALK           -       -    0.86    0.84
    CHiME-7         0.62    0.77    0.76    0.75
    URGENT25        0.59    0.70    0.76    0.75

Cost: 1.38 iterations a second on an A100, each of about 400 s of audio (Table 6): 20,000 take 4.0 h, 60,000 12.1 h.

Where paper and published code differ, this file follows the code, and `:paper` the paper. Paper: 20,000 updates (v1;
60,000 in the Interspeech version) of about 400 s, a constant learning rate, thirteen corpora, errors averaged over
metrics. Code: 100 epochs, 300 s and at most 32 clips a GPU, a rate falling linearly to 0, nine corpora, to which this
file adds the two that carry the other metrics, errors averaged over the metrics of each category, then over categories.

    python -m launch.train --config configs/f1c5m15.py --workdir runs/f1c5m15 --export my_model
    python -m launch.train --config configs/f1c5m15.py:paper --workdir runs/f1c5m15 --export my_model
    urgentmos evaluate data/somos/test/data.jsonl --model my_model --paper F1C5M15-ref
"""

from ml_collections import ConfigDict

from configs import common, f1c1m5_d_ref


def get_config(recipe: str = "code") -> ConfigDict:
    """The run, by the `recipe` of the published code or of the paper."""
    config = f1c1m5_d_ref.get_config(recipe)
    # The corpora that carry the objective metrics, as published; hardly any mos_overall.
    config.data.train = common.with_corpora(config.data.train, "urgent2024-sqa/train", "urgent2025-sqa/train")
    config.model.categories = dict(
        noise_distortion=common.metrics("pesq", "pesqc2", "dnsmos_ovrl", "lsd", "sdr"),
        naturalness=common.metrics("mos_overall", comparative=True)
        | common.metrics("utmos", "distill_mos", "nisqa_mos", "scoreq"),
        intelligibility=common.metrics("estoi", "sbert", "lps"),
        speaker_characteristics=common.metrics("spksim"),
        spectral_accuracy=common.metrics("mcd"),
    )
    return config
