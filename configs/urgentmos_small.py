"""urgentmos-small: the compact encoder from nothing, eight metrics of degraded speech; not released yet.

    python -m launch.release --workdir DIR ...

makes the speech, labels it and trains this. Labels are those of predictors (Distill-MOS, DNSMOS) and of metrics against
the clean speech, all mapped to 1 to 5 in training, so that none outweighs the others; the ranges of the released model
undo that. Comparisons are by Distill-MOS.
"""

from ml_collections import ConfigDict

from configs import common

# Of the released model; training sees each of these mapped to 1 to 5.
RANGES = {
    "distill_mos": (1.0, 5.0),
    "dnsmos_ovrl": (1.0, 5.0),
    "dnsmos_sig": (1.0, 5.0),
    "dnsmos_bak": (1.0, 5.0),
    "dnsmos_p808": (1.0, 5.0),
    "pesq": (1.0, 4.65),
    "estoi": (0.0, 1.0),
    "si_sdr": (-30.0, 50.0),
}
COMPARED = "distill_mos"


def get_config() -> ConfigDict:
    """The run."""
    config = common.compact(layers=3)
    config.model.encoders.compact.architecture.update(
        hidden_size=128, intermediate_size=512, num_attention_heads=4, stride=4, dropout=0.05
    )
    scales = {name: dict(minimum=1.0, maximum=5.0, comparative=name == COMPARED) for name in RANGES}
    config.update(
        data=dict(train=("train",), valid=("dev",), pairing_scope="corpus", max_seconds=8.0),
        batch=dict(seconds=96.0, clips=32),
        model=dict(
            width=128, category=dict(layers=1, heads=4, feedforward=512, dropout=0.05), categories=dict(quality=scales)
        ),
        loss=dict(criterion="huber", absolute=0.7, comparative=0.3, tie=0.1),
        optimizer=dict(learning_rate=6e-4, warmup_updates=100, weight_decay=0.02),
        epochs=12.0,
        validate_every=1000,
        save_every=250,
        log_every=50,
        keep=2,
    )
    return config
