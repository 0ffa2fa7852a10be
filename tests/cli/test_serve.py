"""`urgentmos serve`: wrong usage is told before a model is loaded."""

import socket

import pytest

from tests.helpers.commands import refused
from urgentmos_jax.serving.server import address_of, bind


def test_other_addresses_than_loopback_need_a_token(capsys, monkeypatch):
    monkeypatch.delenv("URGENTMOS_TOKEN", raising=False)
    for host in ("0.0.0.0", "::"):
        error = refused(capsys, "serve", "--model", "no_such", "--port", 0, "--host", host)
        assert "URGENTMOS_TOKEN" in error or "not supported" in error
    monkeypatch.setenv("URGENTMOS_TOKEN", "")
    assert "URGENTMOS_TOKEN" in refused(capsys, "serve", "--model", "no_such", "--port", 0, "--host", "0.0.0.0")
    with bind("0.0.0.0", 0, "secret") as bound:
        assert address_of(bound).startswith("http://0.0.0.0:")


def test_what_cannot_be_had_is_told(capsys, tmp_path):
    command = ("serve", "--model", tmp_path / "no_such")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        error = refused(capsys, *command, "--port", other.getsockname()[1])
        assert "--port" in error and "in use" in error
    assert "--port 70000" in refused(capsys, *command, "--port", 70000)
    assert "--host" in refused(capsys, *command, "--host", "no.such.host.invalid")
    assert "--root" in refused(capsys, *command, "--port", 0, "--root", tmp_path / "no_such")
    assert "no_such" in refused(capsys, *command, "--port", 0)


@pytest.mark.parametrize("flag", ["--max-mb", "--max-seconds", "--queue", "--timeout", "--delay-ms"])
def test_limits_are_positive(capsys, flag):
    assert flag in refused(capsys, "serve", flag, "-1")
