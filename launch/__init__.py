"""Programs: training, the demo, benchmarks. Installed, they are `python -m urgentmos_jax.launch.train` and so on."""

from urgentmos_jax.lazy import missing

try:
    import ml_collections  # noqa: F401
except ModuleNotFoundError as error:
    raise SystemExit(f"launch: {missing(error, 'train')}") from None
