"""Chips and slices of TPUs, and their devices to compile for on a machine that has none.

libtpu, a package of PyPI, holds the compiler of TPUs and runs anywhere; what it compiles can be looked at, not run.
"""

import dataclasses
import math
import os
import re
from importlib import metadata, util
from typing import Any

import jax

_GIB = 2**30


class SliceError(ValueError):
    """A slice that does not exist or cannot be compiled for; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """What a chip has, by Cloud TPU's documentation (cloud.google.com/tpu/docs/v5e, v5p-training, v6e; 2026-11).

    Args:
        flops: Operations a second in bfloat16, two a multiply-add.
        memory: Bytes, as documented.
        available: Bytes that XLA gives to programs; by its own message where one is too large (libtpu 0.0.42.1).
        bandwidth: Bytes a second between memory and chip.
        dimensions: Of the torus.
    """

    flops: float
    memory: float
    available: float
    bandwidth: float
    dimensions: int


CHIPS = {
    "v5e": Chip(197e12, 16 * _GIB, 15.75 * _GIB, 819e9, 2),
    "v5p": Chip(459e12, 95 * _GIB, 95.74 * _GIB, 2765e9, 3),
    "v6e": Chip(918e12, 32 * _GIB, 31.25 * _GIB, 1638e9, 2),
}
# Of libtpu: no machine of a cloud is asked what it is, and several processes may compile.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


@dataclasses.dataclass(frozen=True)
class Slice:
    """One or several equal slices of TPUs.

    Args:
        kind: A key of `CHIPS`.
        shape: Chips along each side of the torus.
        count: Slices; they are joined by the data centre's network.
    """

    kind: str
    shape: tuple[int, ...]
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Slice":
        """`v5e:4x4`, `v5p:2x4x4`; `2xv5e:16x16` for two slices.

        Raises:
            SliceError: there is no such slice.
        """
        found = re.fullmatch(r"(?:(\d+)x)?(v\w+):(\d+(?:x\d+)*)", text)
        if not found or found[2] not in CHIPS:
            raise SliceError(
                f"--topology is {text!r}, expected a chip of {', '.join(CHIPS)} and the sides of its slice: v5e:4x4, "
                f"v5p:2x4x4, v6e:8x8; 2xv5e:16x16 for two slices"
            )
        one = cls(found[2], tuple(int(side) for side in found[3].split("x")), int(found[1] or 1))
        wanted = one.chip.dimensions
        if len(one.shape) != wanted or not min(one.shape) or not one.count:
            raise SliceError(f"--topology is {text!r}, a slice of {one.kind} has {wanted} sides of at least 1")
        return one

    def __str__(self) -> str:
        several = f"{self.count}x" if self.count > 1 else ""
        return f"{several}{self.kind}:{'x'.join(map(str, self.shape))}"

    @property
    def chip(self) -> Chip:
        """Of every device."""
        return CHIPS[self.kind]

    @property
    def chips(self) -> int:
        """Of all slices."""
        return self.count * math.prod(self.shape)

    def devices(self) -> list[jax.Device]:
        """Devices that programs can be compiled for and not run on.

        Raises:
            ModuleNotFoundError: libtpu is not installed.
            SliceError: libtpu knows no such slice.
        """
        if util.find_spec("libtpu") is None:
            text = 'libtpu is missing, the compiler of TPUs: pip install "urgentmos_jax[tpu-compile]"'
            raise ModuleNotFoundError(text, name="libtpu")
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from jax.experimental import topologies

        options: dict[str, Any] = {"num_slices": self.count} if self.count > 1 else {}
        if math.prod(self.shape) == 1:
            options["chips_per_host_bounds"] = self.shape + (1,) * (3 - len(self.shape))
        name = f"{self.kind}:{'x'.join(map(str, self.shape))}"
        try:
            return list(topologies.get_topology_desc(name, platform="tpu", **options).devices)
        except jax.errors.JaxRuntimeError as error:
            raise SliceError(f"--topology {self}: libtpu {libtpu_version()} has no such slice: {error}") from error


def libtpu_version() -> str:
    """Of the compiler; "" where it is not installed."""
    try:
        return metadata.version("libtpu")
    except metadata.PackageNotFoundError:
        return ""


def without_devices() -> None:
    """Keeps jax from looking for a TPU where only the compiler of one is; before its first use of a device."""
    platforms = jax.config.jax_platforms  # type: ignore[attr-defined]  # jax makes these attributes as it is imported.
    if util.find_spec("libtpu") is not None and not platforms:
        jax.config.update("jax_platforms", "cpu")
