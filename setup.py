"""Package metadata lives in setup.cfg; here, what is installed.

A wheel carries the programs of `launch/` and the runs of `configs/` within the package, since those names at the top
would be anybody's; `python -m urgentmos_jax.launch.train` finds them (`urgentmos_jax/launch.py`). `launch.release`
writes its labels beside itself, and stays in the clone.
"""

from setuptools import find_namespace_packages, find_packages, setup

programs = find_namespace_packages(
    include=["configs", "launch", "launch.*"],
    exclude=["launch.demo.clips", "launch.docker", "launch.release*", "launch.tpu", "launch.web*"],
)
setup(
    packages=[
        *find_packages(include=["urgentmos_jax", "urgentmos_jax.*"]),
        *(f"urgentmos_jax.programs.{name}" for name in programs),
    ],
    package_dir={f"urgentmos_jax.programs.{name}": name.replace(".", "/") for name in programs},
)
