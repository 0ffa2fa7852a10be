"""F4C1M5, pairs by reference: four fused encoders, one category, five metrics (UrgentMOS, arXiv 2601.18438).

The paper's strongest model. Whisper's encoders hear 30 s, so longer clips are cut to that, at a place drawn anew each
epoch. Qwen3-Omni and AF-Whisper give their last layer, as the published code takes them where it runs; the others the
weighted sum of all. All four are frozen and held in bfloat16: 2.2 billion parameters in 4.5 GB. No one has trained this
config with this code yet: expected are the figures of that row of the paper.

    python -m launch.train --config configs/f4c1m5_d_ref.py --workdir runs/f4c1m5_d_ref --export my_model
    python -m launch.train --config configs/f4c1m5_d_ref.py --dry_run      # sizes, before anything is downloaded
"""

from ml_collections import ConfigDict

from configs import common, f1c1m5_d_ref


def get_config() -> ConfigDict:
    """The run."""
    config = f1c1m5_d_ref.get_config()
    config.data.max_seconds = 30.0
    sums, last = dict(dtype="bfloat16"), dict(dtype="bfloat16", layer_aggregation=False)
    config.model.encoders = dict(
        wavlm=common.frozen("microsoft/wavlm-large", **sums),
        kimi=common.frozen("Atotti/Kimi-Audio-Whisper-Encoder", **sums),
        qwen3_omni=common.frozen("giangndm/qwen3-30b-omni-audio-encoder", **last),
        af_whisper=common.frozen("Atotti/AFWhisper", **last),
    )
    return config
