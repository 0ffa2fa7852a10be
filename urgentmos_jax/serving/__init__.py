"""The HTTP service over the engine: recordings of requests in, rows out as `score` and `compare` write them."""

from urgentmos_jax.lazy import public

__getattr__, __all__ = public(
    __name__, app="create_app", limits="Limits Refused", server="run_server", service="Service"
)
