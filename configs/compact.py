"""A small model from nothing: the compact encoder (0.3 M parameters), one metric, an hour of speech or less.

For a corpus of one's own and for trying things out on a laptop.

    urgentmos prepare custom --source ratings.csv --output data/mine/train ...
    python -m launch.train --config configs/compact.py --config.data.train='("mine/train",)' --workdir runs/mine
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """The run."""
    config = common.compact(layers=2)
    config.update(
        data=dict(train=("mine/train",), valid=("mine/dev",), max_seconds=20.0),
        batch=dict(seconds=60.0),
        model=dict(categories=dict(quality=common.metrics("mos_overall", comparative=True))),
        optimizer=dict(learning_rate=1e-3, warmup_updates=20),
        updates=400,
        validate_every=400,
        save_every=200,
        log_every=20,
        keep=2,
    )
    return config
