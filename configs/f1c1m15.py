"""F1C1M15, pairs by reference: one encoder, one category, fifteen metrics (UrgentMOS, arXiv 2601.18438).

All metrics of Table 1, PESQ with corrigendum 2 (pesqc2) among them, share one trunk: the paper's example that more
metrics alone do not help (compare `f1c5m15`). The objective ones come with the URGENT corpora; ranges are those of the
table.

Expected: row F1C1M15-ref of arXiv 2601.18438 v1 (Tables 4, 5, 9, 10), whose runs differ among themselves by .02 to .06.
No one has trained this config with this code yet.

    set          acc_0.5   acc_0     LCC    SRCC
    SOMOS           0.57    0.69    0.57    0.55
    TMHINT-QI       0.58    0.75    0.78    0.72
    URGENT24        0.57    0.68    0.76    0.76
    SpeechEval      0.78    0.90       -       -
    SpeechJudge     0.65    0.65       -       -
    BVCC               -       -    0.82    0.82
    BC19               -       -    0.74    0.69
    P501            0.76    0.88    0.90    0.92
    FOR             0.75    0.86    0.90    0.90
    LIVETALK           -       -    0.87    0.85
    CHiME-7         0.60    0.76    0.68    0.67
    URGENT25        0.58    0.69    0.75    0.74

Cost: 2.12 iterations a second on an A100, each of about 400 s of audio (Table 6): 20,000 take 2.6 h, 60,000 7.9 h.

Where paper and published code differ, this file follows the code, and `:paper` the paper. Paper: 20,000 updates (v1;
60,000 in the Interspeech version) of about 400 s, a constant learning rate, thirteen corpora, errors averaged over
metrics (the same with one category). Code: 100 epochs, 300 s and at most 32 clips a GPU, a rate falling linearly to 0,
nine corpora, to which this file adds the two that carry the other metrics, errors averaged over the metrics of each
category, then over categories.

    python -m launch.train --config configs/f1c1m15.py --workdir runs/f1c1m15 --export my_model
    python -m launch.train --config configs/f1c1m15.py:paper --workdir runs/f1c1m15 --export my_model
    urgentmos evaluate data/somos/test/data.jsonl --model my_model --paper F1C1M15-ref
"""

from ml_collections import ConfigDict

from configs import f1c5m15


def get_config(recipe: str = "code") -> ConfigDict:
    """The run, by the `recipe` of the published code or of the paper."""
    config = f1c5m15.get_config(recipe)
    apart = config.model.categories.to_dict().values()
    config.model.categories = dict(mos={name: one for metrics in apart for name, one in metrics.items()})
    return config
