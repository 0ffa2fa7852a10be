"""Fixtures of the commands."""

import importlib

import pytest

from tests.helpers.stub_model import StubModel


@pytest.fixture
def stub(monkeypatch):
    """Has the commands use a model that computes nothing."""

    def use(**attributes) -> None:
        model = StubModel()
        for name, value in attributes.items():
            setattr(model, name, value)
        for name in ("score", "compare"):
            monkeypatch.setattr(importlib.import_module(f"urgentmos_jax.cli.{name}"), "load", lambda _: model)

    use()
    return use
