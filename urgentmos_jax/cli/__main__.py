"""`python -m urgentmos_jax.cli`: the command `urgentmos` where it is not installed as such."""

import sys

from urgentmos_jax.cli import main

sys.exit(main())
