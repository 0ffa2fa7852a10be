"""Peak memory of this process; imports nothing that itself takes memory, so that measured processes can use it."""

import re
import resource
from pathlib import Path

__all__ = ["peak_memory_mb"]


def peak_memory_mb() -> float:
    """Largest resident size of this process so far."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # On Linux ru_maxrss starts at what the process that started this one had: it is kept through exec.
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
