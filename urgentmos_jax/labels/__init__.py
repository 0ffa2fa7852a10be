"""Labels computed from audio: against a clean reference (`intrusive`) or from the recording alone (`predictors`), for
all of a manifest (`labelling`).

`torch_networks` are those of both kinds that need torch, `distill_mos` is computed by a model folder of ours.
`references` finds the clean recording, `alignment` brings both into step, `workers` are the processes, `results` is the
file that a stopped run resumes from, `packages` are those of others, and `scores` reads ready-made scores.
"""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    intrusive="METRICS available measure",
    labelling="Labelled label_manifest",
    references="Rule",
    scores="ScoreFile",
)
