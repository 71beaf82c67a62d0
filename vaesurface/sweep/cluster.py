"""Workers on other machines, through `dask.distributed`, the extra `cluster`."""

import os
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

from vaesurface.store.names import complaint

__all__ = ["cluster"]

PATIENCE = 30  # seconds for a scheduler to answer


def cluster(address: str | None = None, *, scheduler_file: str | os.PathLike | None = None) -> Any:
    """A function that connects to a dask cluster, for `grid` and `fill`.

    address: of its scheduler, such as "tcp://host:8786"; or scheduler_file, that the scheduler
    wrote. Raises ValueError unless one of them is given, RuntimeError where dask is not installed.
    """
    if (address is None) == (scheduler_file is None):
        got = "both" if address else "neither"
        raise complaint("a scheduler's address or its file", got, "give one of the two")
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            "expected dask.distributed for a cluster, got none; pip install 'vaesurface[cluster]'"
        ) from error
    if scheduler_file is not None and not Path(scheduler_file).is_file():
        remedy = "start the scheduler with --scheduler-file first"
        raise complaint("a scheduler's file", f"no file {scheduler_file}", remedy)
    place = {"address": address} if address else {"scheduler_file": str(scheduler_file)}
    return partial(_connected, **place)


def _connected(**place: str) -> Executor:
    """Raises RuntimeError where no scheduler answers, and where it has no workers."""
    from distributed import Client

    (where,) = place.values()
    try:
        client = Client(**place, timeout=PATIENCE, set_as_default=False)
        client.wait_for_workers(1, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise RuntimeError(
            f"expected a dask scheduler with workers at {where}, got no answer within "
            f"{PATIENCE} seconds; start it, and workers for it"
        ) from error
    return client.get_executor()
