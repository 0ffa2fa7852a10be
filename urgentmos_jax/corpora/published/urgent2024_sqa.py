"""URGENT 2024: enhanced speech from the challenge's submissions, with metrics; the test split with ratings (P.808).

The hub's `blind_test` holds the noisy sources of the test split, without labels; it is left out.
"""

from functools import partial

from urgentmos_jax.corpora.corpus import Corpus
from urgentmos_jax.corpora.downloads import HubDataset
from urgentmos_jax.corpora.urgent_submissions import read_splits

CORPUS = Corpus(
    name="urgent2024-sqa",
    holds="metrics of enhanced speech; test: P.808 quality, ratings",
    protocol="quality",
    licence="CC BY-NC-SA 4.0",
    size="8 to 48 kHz, train 429 h",
    home="https://huggingface.co/datasets/urgent-challenge/urgent2024-sqa",
    splits={"train": 238000, "test": 6900},
    read=partial(read_splits, hub_splits={"train": ("validation", "nonblind_test"), "test": ("blind_test_mos",)}),
    downloads=(HubDataset("urgent-challenge/urgent2024-sqa"),),
)
