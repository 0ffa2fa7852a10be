"""Training: a run, from its config to its model folder.

`config` and `start` say what a run is and what it starts from, `datasets` and `data_record` what it learns from;
`trainer` is the loop and `step` one update. `mesh` makes the mesh of devices, `sharding` places arrays on it,
`topology` joins several hosts.
"""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    checkpoints="CheckpointError Checkpoints",
    config="ConfigError TrainConfig read_config",
    data_record="DataChanged",
    dry_run="describe_run",
    interruption="Interrupted",
    logs="show_log",
    memory="OutOfMemory",
    mesh="MeshConfig make_mesh",
    sharding="Layout",
    skipped="TooManyBadItems",
    step="OptimizerConfig TrainState TrainStep",
    topology="HostLost",
    trainer="STOPPED NonFiniteLoss Trainer",
)
