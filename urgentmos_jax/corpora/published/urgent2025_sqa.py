"""URGENT 2025: enhanced speech from the challenge's submissions, with metrics; the test split with means (P.808).

Its splits are those of the hub, as in `urgent2024_sqa`.
"""

from functools import partial

from urgentmos_jax.corpora.corpus import Corpus
from urgentmos_jax.corpora.downloads import HubDataset
from urgentmos_jax.corpora.urgent_submissions import read_splits

CORPUS = Corpus(
    name="urgent2025-sqa",
    holds="metrics of enhanced speech; test: P.808 quality, means",
    protocol="quality",
    licence="CC BY-NC-SA 4.0",
    size="train 261 h",
    home="https://huggingface.co/datasets/urgent-challenge/urgent2025-sqa",
    splits={"train": 100000, "test": 23400},
    read=partial(read_splits, hub_splits={"train": ("validation", "nonblind_test"), "test": ("blind_test_mos",)}),
    downloads=(HubDataset("urgent-challenge/urgent2025-sqa"),),
)
