"""The programs of `launch/`, from an installed package as from a clone: `python -m urgentmos_jax.launch.train ...`.

In a wheel they lie in `programs/`, beside the runs of `configs/`; in a clone, beside the package. To import this module
makes `launch` and `configs` known by those names, for the programs and for configs of one's own.
"""

import importlib
import sys
from pathlib import Path

_PACKED = Path(__file__).parent / "programs"
FOLDER = _PACKED if _PACKED.is_dir() else Path(__file__).parents[1]

if str(FOLDER) not in sys.path:
    sys.path.insert(0, str(FOLDER))
# Where submodules are is what makes a module a package. It is that of `launch`, which looks for what programs need.
__path__ = importlib.import_module("launch").__path__
