"""Corpora to manifests: published ones, and your own ratings."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    corpus="Corpus",
    custom="Columns Scale prepare_table",
    custom_folder="corpus_of_folder",
    downloads="download",
    hub_tables="extract hub_rows",
    prepare="prepare_corpus",
    registry="NAMES corpus_of",
    unpacking="DownloadError",
)
