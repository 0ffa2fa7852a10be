"""F1C1M1: as `f1c1m5_d_corpus`, but human MOS alone (UrgentMOS, arXiv 2601.18438): what the other metrics are worth.

The paper's row has pairs by reference, and so has `:paper`; without it they are by corpus.

Expected: row F1C1M1-ref of arXiv 2601.18438 v1 (Tables 4, 5, 9, 10), whose runs differ among themselves by .02 to .06.
No one has trained this config with this code yet.

    set          acc_0.5   acc_0     LCC    SRCC
    SOMOS           0.57    0.71    0.64    0.63
    TMHINT-QI       0.60    0.77    0.79    0.74
    URGENT24        0.57    0.67    0.75    0.75
    SpeechEval      0.80    0.87       -       -
    SpeechJudge     0.67    0.67       -       -
    BVCC               -       -    0.83    0.83
    BC19               -       -    0.81    0.77
    P501            0.78    0.90    0.92    0.93
    FOR             0.76    0.86    0.91    0.90
    LIVETALK           -       -    0.83    0.81
    CHiME-7         0.56    0.69    0.64    0.63
    URGENT25        0.57    0.69    0.74    0.74

Cost: 2.30 iterations a second on an A100, each of about 400 s of audio (Table 6): 20,000 take 2.4 h, 60,000 7.2 h.

Where paper and published code differ, this file follows the code, and `:paper` the paper. Paper: 20,000 updates (v1;
60,000 in the Interspeech version) of about 400 s, a constant learning rate, thirteen corpora, errors averaged over
metrics (the same with one category). Code: 100 epochs, 300 s and at most 32 clips a GPU, a rate falling linearly to 0,
nine corpora, errors averaged over the metrics of each category, then over categories.

    python -m launch.train --config configs/f1c1m1.py --workdir runs/f1c1m1 --export my_model
    python -m launch.train --config configs/f1c1m1.py:paper --workdir runs/f1c1m1 --export my_model
    urgentmos evaluate data/somos/test/data.jsonl --model my_model --paper F1C1M1-ref
"""

from ml_collections import ConfigDict

from configs import common, f1c1m5_d_corpus


def get_config(recipe: str = "code") -> ConfigDict:
    """The run, by the `recipe` of the published code or of the paper."""
    config = f1c1m5_d_corpus.get_config(recipe)
    config.model.categories = dict(mos=common.metrics("mos_overall", comparative=True))
    if recipe == "paper":
        config.data.pairing_scope = "reference"
    return config
