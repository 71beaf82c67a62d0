"""Where is it measured?"""

import os
import platform
import subprocess
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["described"]

PACKAGES = (
    "jax",
    "jaxlib",
    "numpy",
    "scipy",
    "optax",
    "matfree",
    "torch",
    "curvlinops-for-pytorch",
    "PyHessian",
    "hessian-eigenthings",
)
ROOT = Path(__file__).resolve().parents[2]


def described() -> dict[str, str]:
    """The machine, the programs, the day."""
    found = {name: installed(name) for name in PACKAGES}
    told = {
        "day": date.today().isoformat(),
        "commit": commit(),
        "processor": processor(),
        "cores": f"1 of {os.cpu_count()}",
        "load": f"{os.getloadavg()[0]:.1f} at the start",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if kernel := os.environ.get("OPENBLAS_CORETYPE"):
        told["OPENBLAS_CORETYPE"] = kernel
    return told | {name: text for name, text in found.items() if text}


def installed(name: str) -> str:
    """A package's version, or nothing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def commit() -> str:
    """Of the tree, with a plus sign where files differ from it."""
    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")


def git(*words: str) -> str:
    """What it answers; nothing where it is not there."""
    command = ["git", "-C", str(ROOT), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def processor() -> str:
    """Its name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
