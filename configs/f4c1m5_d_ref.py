"""F4C1M5, pairs by reference: four fused encoders, one category, five metrics (UrgentMOS, arXiv 2601.18438).

The paper's strongest model. Whisper's encoders hear 30 s, so longer clips are cut to that, at a place drawn anew each
epoch. Qwen3-Omni and AF-Whisper give their last layer, as the published code takes them where it runs; the others the
weighted sum of all. All four are frozen and held in bfloat16: 2.2 billion parameters in 4.5 GB.

Expected: row F4C1M5-ref of arXiv 2601.18438 v1 (Tables 4, 5, 9, 10), whose runs differ among themselves by .02 to .06.
No one has trained this config with this code yet.

    set          acc_0.5   acc_0     LCC    SRCC
    SOMOS           0.60    0.73    0.68    0.67
    TMHINT-QI       0.63    0.78    0.82    0.78
    URGENT24        0.59    0.69    0.80    0.79
    SpeechEval      0.83    0.91       -       -
    SpeechJudge     0.75    0.75       -       -
    BVCC               -       -    0.86    0.86
    BC19               -       -    0.83    0.77
    P501            0.81    0.91    0.93    0.94
    FOR             0.81    0.89    0.93    0.94
    LIVETALK           -       -    0.87    0.87
    CHiME-7         0.60    0.80    0.77    0.76
    URGENT25        0.59    0.74    0.75    0.74

Cost: 0.32 iterations a second on an A100, each of about 400 s of audio (Table 6): 20,000 take 17.4 h, 60,000 52.1 h.

Where paper and published code differ, this file follows the code, and `:paper` the paper. Paper: 20,000 updates (v1;
60,000 in the Interspeech version) of about 400 s, a constant learning rate, thirteen corpora, errors averaged over
metrics (the same with one category). Code: 100 epochs, 300 s and at most 32 clips a GPU, a rate falling linearly to 0,
nine corpora, errors averaged over the metrics of each category, then over categories.

    python -m launch.train --config configs/f4c1m5_d_ref.py --workdir runs/f4c1m5_d_ref --export my_model
    python -m launch.train --config configs/f4c1m5_d_ref.py:paper --workdir runs/f4c1m5_d_ref --export my_model
    python -m launch.train --config configs/f4c1m5_d_ref.py --dry_run      # sizes, before anything is downloaded
    urgentmos evaluate data/somos/test/data.jsonl --model my_model --paper F4C1M5-ref
"""

from ml_collections import ConfigDict

from configs import common, f1c1m5_d_ref


def get_config(recipe: str = "code") -> ConfigDict:
    """The run, by the `recipe` of the published code or of the paper."""
    config = f1c1m5_d_ref.get_config(recipe)
    config.data.max_seconds = 30.0
    sums, last = dict(dtype="bfloat16"), dict(dtype="bfloat16", layer_aggregation=False)
    config.model.encoders = dict(
        wavlm=common.frozen("microsoft/wavlm-large", **sums),
        kimi=common.frozen("Atotti/Kimi-Audio-Whisper-Encoder", **sums),
        qwen3_omni=common.frozen("giangndm/qwen3-30b-omni-audio-encoder", **last),
        af_whisper=common.frozen("Atotti/AFWhisper", **last),
    )
    return config
