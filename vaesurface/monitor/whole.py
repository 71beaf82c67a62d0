"""What is the whole diagnosis of a look? That of `diagnose.arrays`, in a process of its own where
JAX is needed: beside another framework it would take most of a GPU's memory.

    python -m vaesurface.monitor.whole EXPORT DIAGNOSIS

reads arrays and writes a pickled `Diagnosis`; only `diagnosis` calls it, and reads its own file.
"""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from vaesurface import diagnose, files
from vaesurface.diagnose import Diagnosis, doors
from vaesurface.diagnose.export import Export

__all__ = ["diagnosis", "save"]


def diagnosis(seen: Export) -> Diagnosis:
    """Of checked arrays."""
    if seen.likelihood == "gaussian" or "jax" in sys.modules:
        return doors.diagnosed(seen)
    with tempfile.TemporaryDirectory() as folder:
        arrays, found = Path(folder) / "export.npz", Path(folder) / "diagnosis"
        save(seen, arrays)
        command = [sys.executable, "-m", "vaesurface.monitor.whole", str(arrays), str(found)]
        # The CPU's alone: the GPU is the training's.
        ran = subprocess.run(
            command, env={**os.environ, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True
        )
        if ran.returncode:
            raise RuntimeError(f"the diagnosis failed: {ran.stderr.strip().splitlines()[-1:]}")
        return pickle.loads(found.read_bytes())


def save(seen: Export, path: str | os.PathLike) -> None:
    """Write checked arrays as an .npz that `diagnose.load` reads, all at once or not at all."""
    with files.replacing(path) as place, open(place, "wb") as file:
        np.savez_compressed(file, **_arrays(seen))


def _arrays(seen: Export) -> dict[str, Any]:
    names = ("x", "mean", "log_std", "reconstruction", "gamma", "beta", "affine", "learned_gamma")
    drawn = ("sampled_reconstruction", "prior_reconstruction")
    arrays = {name: getattr(seen, name) for name in (*names, *drawn)}
    if seen.likelihood == "categorical":
        shape = (len(seen.x), -1, seen.classes)
        for name in ("x", "reconstruction", *drawn):
            arrays[name] = None if arrays[name] is None else arrays[name].reshape(shape)
    if seen.stated:
        arrays["likelihood"] = seen.likelihood
    return {name: value for name, value in arrays.items() if value is not None}


if __name__ == "__main__":
    exported, found = map(Path, sys.argv[1:])
    found.write_bytes(pickle.dumps(diagnose.load(exported)))
