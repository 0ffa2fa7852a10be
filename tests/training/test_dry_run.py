"""A dry run describes what a config would train."""

import importlib

import pytest

from urgentmos_jax.training.dry_run import describe_run


@pytest.mark.slow
def test_dry_run(capsys):
    run = importlib.import_module("configs.f4c1m5_d_ref").get_config()
    text = describe_run(run, 8)
    lines = text.splitlines()
    assert {"fusion", "encoders.3", "all"} <= {line.split()[0] for line in lines} and "2237.317" in text
    assert "32 pairs of 9.4 s on 8 devices" in text and "10 pairs of 30.0 s" in text
    one, eight = (float(told[-2].split(": ")[1].split()[0]) for told in (describe_run(run, 1).splitlines(), lines))
    assert one > eight > 4.6
