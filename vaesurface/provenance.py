"""What computed a result: which software, on what?

Results are the same to the last bit for one instruction set only, so it is said with them.

>>> sorted(software())
['device', 'instructions', 'jax', 'jaxlib', 'numpy', 'vaesurface']
"""

import os
import platform
import socket
from functools import cache
from importlib.metadata import version
from pathlib import Path

__all__ = ["flags", "instructions", "software", "worker"]

CPU = Path("/proc/cpuinfo")
# What changes the order or the fusing of floating point operations, widest first.
TELLING = ("avx512f", "avx2", "fma", "avx", "sse4_2", "sve2", "sve", "asimd", "neon")


def software() -> dict[str, str]:
    """Versions, the device and the instruction set of this process."""
    import jax

    import vaesurface

    versions = {name: version(name) for name in ("jax", "jaxlib", "numpy")}
    versions |= {"vaesurface": vaesurface.__version__, "device": jax.devices()[0].device_kind}
    return versions | {"instructions": instructions()}


def worker() -> str:
    """This process among those of all machines."""
    return f"{socket.gethostname()}:{os.getpid()}"


@cache
def instructions() -> str:
    """The processor's instruction set, as far as the last bits of results may depend on it."""
    has = set(flags().split())
    return " ".join([platform.machine(), *(name for name in TELLING if name in has)])


def flags() -> str:
    """All that the processor says it can."""
    if CPU.exists():
        lines = CPU.read_text().splitlines()
        told = (line for line in lines if line.lower().startswith(("flags", "features")))
        return next(told, platform.processor()).partition(":")[2]
    return platform.processor()
