"""What will a sweep take, and how many workers fit into memory?"""

from pathlib import Path
from typing import Any

from vaesurface.cli.answers import command, say
from vaesurface.cli.options import Workers
from vaesurface.refusal import complaint

__all__ = ["GIGABYTE", "explained", "fitting"]

GIGABYTE = 10**9
UNITS = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def fitting(asked: Any, workers: Workers, memory: float | None) -> int | None:
    """How many workers of this machine fit into memory at a time; None for those of a cluster.

    memory: GB for all of them; None: what is free. Raises ValueError where not even one fits.
    """
    if not workers.here:
        if memory is not None:
            remedy = "limit its workers where they are started"
            raise complaint("no --memory for a cluster", "one", remedy)
        return None
    from vaesurface import sweep
    from vaesurface.experiments import forecast

    process, each = forecast.memory(asked)
    free = sweep.available() if memory is None else memory * GIGABYTE
    wanted = workers.workers or sweep.cores()
    if workers.workers is None:
        most = int((free - process) // each)
    else:
        most = int(free // (process + each))
    if most < 1:
        source = "free" if memory is None else "by --memory"
        got = f"{_size(free)} {source}"
        remedy = "allow more, or take fewer data or latents"
        raise complaint(f"memory for one worker, about {_size(process + each)}", got, remedy)
    return min(most, wanted)


def explained(
    asked: dict[str, Any],
    out: Path,
    workers: Workers,
    memory: float | None,
    options: dict[str, Any],
    as_json: bool,
) -> int:
    """Say what sweeps into directories below `out` would take."""
    results, text = [], []
    then = command(without="--explain")
    for name, one in asked.items():
        result, lines = _explained(one, out / name, workers, memory, options)
        results.append({"part": name, **result} if name else result)
        text += [f"{name}:", *lines, ""] if name else lines
    if len(results) > 1:
        known = [one["seconds"] for one in results]
        total = None if None in known else sum(known)
        say({"parts": results, "seconds": total}, [*text, _total(results)], as_json, then)
    else:
        say(results[0], text, as_json, then)
    return 0


def _explained(
    asked: Any, out: Path, workers: Workers, memory: float | None, options: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    from vaesurface import sweep
    from vaesurface.experiments import forecast

    most = fitting(asked, workers, memory)
    told = forecast.forecast(asked, out, options["keep"])
    number, parts = options["shard"]
    missing = -(-(told.cells - told.there) // parts)
    compiling = forecast.COMPILING if told.why and told.seconds is not None else 0
    seconds = None
    if told.seconds is not None and most is not None:
        seconds = missing * told.seconds / max(1, min(most, missing)) + compiling * bool(missing)
    result = {
        "store": str(out),
        "cells": told.cells,
        "there": told.there,
        "missing": told.cells - told.there,
        "workers": most,
        "memory_per_process": told.process,
        "memory_per_cell": told.each,
        "seconds_per_cell": told.seconds,
        "seconds": seconds,
        "bytes": told.bytes,
    }
    grid = " x ".join(f"{len(values)} {name}" for name, values in asked.axes.items())
    todo = told.cells - told.there
    lines = [f"cells: {told.cells} planned ({grid}), {told.there} already there, {todo} to compute"]
    if parts > 1:
        lines.append(f"share: part {number} of {parts}, about {missing} cells")
    lines.append(_memory(told, workers, most, sweep.available() if memory is None else None))
    lines.append(_time(told, most, seconds, missing, compiling))
    one = _size(told.bytes / told.cells)
    lines.append(f"disk: about {_size(told.bytes)} in {out} when all is there, {one} a cell")
    return result, lines


def _memory(told: Any, workers: Workers, most: int | None, free: float | None) -> str:
    """A line about memory; free: bytes, where that is what limits it."""
    of = "" if free is None else f", of {_size(free)} that are free"
    if most is None:
        need = told.process + told.each
        return f"memory: about {_size(need)} for each worker of the cluster that has one thread"
    if workers.workers is None:
        need = told.process + most * told.each
        return (
            f"memory: about {_size(need)} for one process with {most} threads at work{of}: about "
            f"{_size(told.process)} by itself, {_size(told.each)} for each thread"
        )
    need = told.process + told.each
    fewer = "" if most == workers.workers else f" (more do not fit, of {workers.workers})"
    return (
        f"memory: about {_size(need)} for each of {most} processes at a time{fewer}, "
        f"{_size(most * need)} for all{of}"
    )


def _time(
    told: Any, most: int | None, seconds: float | None, missing: int, compiling: float
) -> str:
    from vaesurface.store.status import spell

    if missing == 0:
        return "time: none, all is there"
    if told.seconds is None:
        return f"time: {told.why}"
    each = f"about {spell(told.seconds)} a cell and worker ({told.why})"
    if seconds is None:
        return f"time: {each}, over as many workers as the cluster has"
    at_work = f"{most} worker{'s' * (most != 1)}"
    compiled = f", of which about {spell(compiling)} to compile" if compiling else ""
    return f"time: about {spell(seconds)} with {at_work}{compiled}; {each}"


def _total(results: list[dict[str, Any]]) -> str:
    from vaesurface.store.status import spell

    known = [one["seconds"] for one in results]
    cells, size = (sum(one[name] for one in results) for name in ("missing", "bytes"))
    time = "an unknown time" if None in known else f"about {spell(sum(known))}"
    if not cells:
        return f"in all: nothing to compute, {_size(size)}"
    return f"in all: {cells} cells to compute, one store after the other, {time}, {_size(size)}"


def _size(count: float) -> str:
    """Bytes in words, two digits of them."""
    for unit, size in UNITS:
        if count >= size:
            value = count / size
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}"
    return f"{count:.0f} bytes"
