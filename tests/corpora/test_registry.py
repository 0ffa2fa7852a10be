"""Every corpus of the registry."""

from pathlib import Path

from urgentmos_jax.corpora.downloads import Archive, HubDataset, HubFile
from urgentmos_jax.corpora.registry import NAMES, corpus_of


def test_every_corpus_says_where_it_comes_from():
    for name in NAMES:
        corpus = corpus_of(name)
        assert corpus.downloads and corpus.home.startswith("https://")
        for one in corpus.downloads:
            if isinstance(one, Archive):
                assert all(address.startswith("https://") for address in one.addresses)
            else:
                assert isinstance(one, HubFile | HubDataset) and "/" in one.repo


def test_every_corpus_has_its_name_and_a_test():
    for name in NAMES:
        assert corpus_of(name).name == name
        assert (Path(__file__).parent / "published" / f"test_{name.replace('-', '_')}.py").is_file()
