"""Fixtures: golden files, a tiny model folder."""

import os
import signal
from importlib import metadata
from pathlib import Path

# Eight devices, as sharding tests need them; before jax starts.
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
# Compiling is most of the time these small models take. `.ci/run` runs the golden tests with full optimisation too.
# With the other scheduler, eight devices on two busy cores can wait for each other for ever (seen with jax 0.11).
# Fusion emitters take longest to compile; newer XLA ends a process that names their flag, which it has no more.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_enable_concurrency_optimized_scheduler=false"
    + (" --xla_cpu_use_fusion_emitters=false" if metadata.version("jaxlib").startswith("0.10.") else ""),
)

import jax
import pytest

from tests.helpers.corpus import GOLDEN

# Tests that stop a run expect Ctrl-C to work; a shell that starts pytest in the background has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session", autouse=True)
def _user_cache(tmp_path_factory):
    """Nothing of the tests lands in the user's cache folder."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    jax.config.update("jax_default_matmul_precision", "highest")
    # Many tests build the same small programs anew; compiling is most of the time they take. `.ci/run` names a folder,
    # so that its sessions share them.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    jax.config.update("jax_compilation_cache_dir", os.environ.get("TEST_PROGRAMS", str(shared / "compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A tiny model with a group-norm encoder, converted from the golden checkpoint."""
    from urgentmos_jax.weights.model_folder import save_folder
    from urgentmos_jax.weights.urgent_mos import read_checkpoint

    case = Path(__file__).parent / "golden" / "model" / "c1m5-mean-base"
    checkpoint = read_checkpoint(case / "model.pt", [case / "encoder"])
    folder = tmp_path_factory.mktemp("model") / "c1m5"
    save_folder(folder, checkpoint.module, checkpoint.origin)
    return folder
