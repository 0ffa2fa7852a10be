"""Systems in order, with intervals."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__,
    comparisons="Comparisons compare_by_model compare_by_predictions",
    ranking="RankedSystem Ranking rank wins_by_score",
    systems="read_systems shared_pairs systems_of_folders systems_of_manifest",
    table="as_markdown as_text",
)
