"""The demo: the compact encoder from nothing, on generated speech with objective labels (`python -m launch.demo`).

Labels are ESTOI, SI-SDR and PESQ against the clean speech, a fifth of them withheld. SI-SDR is in dB, so the Huber loss
keeps its errors from outweighing the others; comparisons are by ESTOI, where 0.05 counts as a tie. The model predicts
these metrics without the clean speech; it has never met a listener's opinion.
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
    """The run."""
    config = common.compact(layers=1)
    config.model.encoders.compact.architecture.stride = 4
    si_sdr = dict(si_sdr=dict(minimum=-30.0, maximum=50.0, comparative=False))
    config.update(
        data=dict(train=("train",), pairing_scope="reference", max_seconds=5.0),
        batch=dict(seconds=56.0),
        model=dict(
            categories=dict(quality=common.metrics("estoi", comparative=True) | si_sdr | common.metrics("pesq"))
        ),
        loss=dict(criterion="huber", tie=0.05),
        optimizer=dict(learning_rate=2e-3, warmup_updates=30, clip_norm=5.0),
        updates=600,
        validate_every=600,
        save_every=300,
        log_every=25,
        keep=1,
    )
    return config
