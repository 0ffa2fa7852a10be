"""F1C1M5, pairs by reference: as `f1c1m5_d_corpus`, but partners say the same thing (UrgentMOS, arXiv 2601.18438).

The published weights are urgent-challenge/urgent-mos-f1c1m5dref. A clip whose reference no other clip shares trains on
its scores alone. No one has trained this config with this code yet: expected are the figures of that row of the paper.

    python -m launch.train --config configs/f1c1m5_d_ref.py --workdir runs/f1c1m5_d_ref --export my_model
"""

from ml_collections import ConfigDict

from configs import f1c1m5_d_corpus


def get_config() -> ConfigDict:
    """The run."""
    config = f1c1m5_d_corpus.get_config()
    config.data.pairing_scope = "reference"
    return config
