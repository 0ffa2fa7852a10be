"""Manifests: lists of labelled recordings (`data.jsonl`) and of pairs of them (`data_pairs.jsonl`).

A record is in `records`; a line is checked in `lines`, a file read in `reading` and written in `writing`. Whether it
lists pairs is decided in `naming`, pairs are made in `pairs`, and `urgentmos check` stands on `checking`. CSV files,
spreadsheets and scp lists are read in `tables`. What is scored, labelled or not, is listed in `inputs`: `lists` (with
`cuts` of Lhotse and NeMo), `archives` and `parquet`.
"""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    checking="check_manifests",
    durations="measure_durations",
    inputs="read_inputs",
    naming="lists_pairs",
    pairs="make_pairs",
    reading="read_pairs read_utterances",
    records="ManifestError Pair Utterance",
    writing="write_pairs write_utterances",
)
