"""F1C1M5, pairs by reference: as `f1c1m5_d_corpus`, but partners say the same thing (UrgentMOS, arXiv 2601.18438).

The published weights are urgent-challenge/urgent-mos-f1c1m5dref. A clip whose reference no other clip shares trains on
its scores alone.

Expected: row F1C1M5-ref of arXiv 2601.18438 v1 (Tables 4, 5, 9, 10), whose runs differ among themselves by .02 to .06.
No one has trained this config with this code yet.

    set          acc_0.5   acc_0     LCC    SRCC
    SOMOS           0.58    0.72    0.68    0.67
    TMHINT-QI       0.63    0.77    0.80    0.76
    URGENT24        0.58    0.69    0.78    0.78
    SpeechEval      0.81    0.89       -       -
    SpeechJudge     0.68    0.68       -       -
    BVCC               -       -    0.84    0.85
    BC19               -       -    0.87    0.84
    P501            0.79    0.89    0.93    0.93
    FOR             0.77    0.87    0.92    0.91
    LIVETALK           -       -    0.83    0.82
    CHiME-7         0.64    0.76    0.76    0.75
    URGENT25        0.59    0.70    0.76    0.76

Cost: 2.16 iterations a second on an A100, each of about 400 s of audio (Table 6): 20,000 take 2.6 h, 60,000 7.7 h.

Where paper and published code differ, this file follows the code, and `:paper` the paper. Paper: 20,000 updates (v1;
60,000 in the Interspeech version) of about 400 s, a constant learning rate, thirteen corpora, errors averaged over
metrics (the same with one category). Code: 100 epochs, 300 s and at most 32 clips a GPU, a rate falling linearly to 0,
nine corpora, errors averaged over the metrics of each category, then over categories.

    python -m launch.train --config configs/f1c1m5_d_ref.py --workdir runs/f1c1m5_d_ref --export my_model
    python -m launch.train --config configs/f1c1m5_d_ref.py:paper --workdir runs/f1c1m5_d_ref --export my_model
    urgentmos evaluate data/somos/test/data.jsonl --model my_model --paper F1C1M5-ref
"""

from ml_collections import ConfigDict

from configs import f1c1m5_d_corpus


def get_config(recipe: str = "code") -> ConfigDict:
    """The run, by the `recipe` of the published code or of the paper."""
    config = f1c1m5_d_corpus.get_config(recipe)
    config.data.pairing_scope = "reference"
    return config
