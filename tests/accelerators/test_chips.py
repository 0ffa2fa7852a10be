"""Slices of TPUs by their names."""

from importlib import util

import pytest

from urgentmos_jax.accelerators.chips import CHIPS, Slice, SliceError


@pytest.mark.parametrize("text", ["v5e:4x4", "v5p:2x4x4", "v6e:8x8", "2xv5e:16x16", "v5e:1x1"])
def test_slices_by_name(text: str):
    found = Slice.parse(text)
    assert str(found) == text and found.chip is CHIPS[found.kind]
    assert found.chips == {"v5e:4x4": 16, "v5p:2x4x4": 32, "v6e:8x8": 64, "2xv5e:16x16": 512, "v5e:1x1": 1}[text]


@pytest.mark.parametrize(
    "text", ["", "v5e", "v9:2x2", "4x4", "v5e:4x4x", "v5e:4", "v5e:4x4x4", "v5p:4x4", "v5e:0x4", "0xv5e:2x2"]
)
def test_what_is_no_slice_is_refused(text: str):
    with pytest.raises(SliceError, match="--topology is"):
        Slice.parse(text)


def test_a_memory_is_what_is_documented_less_what_the_compiler_keeps():
    # v5p has 95 GB by its page, which are 95.74 GiB to the compiler.
    assert all(0.97 < chip.available / chip.memory < 1.01 for chip in CHIPS.values())


def test_without_libtpu_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "urgentmos_jax\[tpu-compile\]"'):
        Slice.parse("v5e:2x2").devices()


@pytest.mark.slow
@pytest.mark.skipif(util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_devices_of_a_slice():
    from urgentmos_jax.training.mesh import MeshConfig, make_mesh

    assert len(Slice.parse("v5e:1x1").devices()) == 1
    assert {device.device_kind for device in Slice.parse("v6e:2x4").devices()} == {"TPU v6 lite"}
    with pytest.raises(SliceError, match="no such slice"):
        Slice.parse("v5e:3x3").devices()
    # Heads are split within a slice, rows over all.
    devices = Slice.parse("2xv5e:2x2").devices()
    mesh = make_mesh(MeshConfig(data=-1, model=2, fully_sharded=False), devices)
    slices = [[device.slice_index for device in row] for row in mesh.devices]
    assert slices == [[0, 0], [0, 0], [1, 1], [1, 1]]
    with pytest.raises(ValueError, match="data 1 is not a multiple of the 2 slices"):
        make_mesh(MeshConfig(data=-1, model=8, fully_sharded=False), devices)
