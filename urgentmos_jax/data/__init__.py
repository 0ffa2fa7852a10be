"""Batches of training.

`training_set` reads manifests, `plan` says what each batch holds (a pure function of config, seed and step), `partners`
who is compared with whom, `batching` what arrays a batch is; `reading` fills them, from audio or from the
`feature_cache`, and `loader` does so ahead of their use.
"""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    batching="BatchArrays LoadedBatch",
    feature_cache="DamagedStates FeatureCacheError StoredStates",
    loader="DataWorkerLost LoadedBatches",
    partners="PairingScope Partners",
    plan="Plan",
    reading="BatchReader",
    training_set="Source TrainingSet find_source read_training_set",
)
