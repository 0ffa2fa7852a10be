"""F1C1M1: as `f1c1m5_d_corpus`, but human MOS alone (UrgentMOS, arXiv 2601.18438): what the other metrics are worth.

No one has trained this config with this code yet: expected are the figures of that row of the paper.

    python -m launch.train --config configs/f1c1m1.py --workdir runs/f1c1m1 --export my_model
"""

from ml_collections import ConfigDict

from configs import common, f1c1m5_d_corpus


def get_config() -> ConfigDict:
    """The run."""
    config = f1c1m5_d_corpus.get_config()
    config.model.categories = dict(mos=common.metrics("mos_overall", comparative=True))
    return config
