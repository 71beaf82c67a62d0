"""A sweep as a page shows it: which cells collapse, every run of a cell, and the points at the most
telling alpha.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaesurface import landscape, report
from vaesurface.experiments import pictures
from vaesurface.experiments.ends import End, answer, telling
from vaesurface.experiments.starts import Sweep
from vaesurface.experiments.study import spectra, surface, verdict
from vaesurface.plot import Mark
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind, StationaryPoint

__all__ = ["overview"]

CELLS = 41  # of the plane, a side
NAMES = ("collapsed point", "best found", "next best")  # of the places of `pictures.cast`


def overview(swept: Sweep, ends: Sequence[End], out: Path, command: str, part: str = "") -> Study:
    """The study of a sweep, written into `out` with its figures; without parameters it has the
    phase diagram only.

    part: of a larger sweep, by name.
    """
    alpha = telling(ends)
    grid = {name: swept.ds[name].values for name in ("alpha", "scale")}
    out.mkdir(parents=True, exist_ok=True)
    if lacking := pictures.without_params(swept):
        shown: dict[str, Any] = {"said": [*answer(swept, ends), f"{lacking}."]}
    else:
        shown = {"said": answer(swept, ends), **_points(swept, ends, out, alpha)}
    study = Study(
        name=f"overview-{part}" if part else "overview",
        title=f"Which starts collapse?{part and f' ({part})'}",
        **shown | {"interactive": [_phase(swept.ds), *shown.get("interactive", [])]},
        settings={
            **swept.settings,
            **{name: ", ".join(f"{v:g}" for v in values) for name, values in grid.items()},
        },
        command=command,
    )
    report.save(study, out)
    return study


def _points(swept: Sweep, ends: Sequence[End], out: Path, alpha: float) -> dict[str, Any]:
    """Verdicts and figures of the points at one alpha, as fields of a study."""
    problem = swept.problem(alpha)
    places = pictures.cast(swept, ends, alpha)
    points = {
        name: place.point
        for name, place in zip(NAMES, places, strict=True)
        if place.point is not None
    }
    return {
        "verdicts": [verdict(f"{name}, alpha = {alpha:g}", p) for name, p in points.items()],
        "figures": _figures(swept, ends, out, alpha),
        "interactive": [_surface(problem, places, points, alpha), *spectra(problem, points)],
    }


def _figures(swept: Sweep, ends: Sequence[End], out: Path, alpha: float) -> list[Figure]:
    """Line and plane."""
    captions = {
        "line": f"Energy on the line between the collapsed point and the best one found, alpha = "
        f"{alpha:g}.",
        "plane": f"Energy over the plane through the collapsed point and the best found, alpha = "
        f"{alpha:g}.",
    }
    files = pictures.draw(swept, ends, out, alpha, tuple(captions))
    return [Figure(file.name, captions[file.stem]) for file in files]


def _phase(ds: Any) -> dict[str, Any]:
    """The phase diagram whose cells open, as `report.phase` takes it."""
    return {
        "kind": "phase",
        "title": ds.attrs["data"],
        "caption": "Share of runs that end collapsed. Click a cell, or choose one, to see its "
        "runs.",
        "alpha": ds.alpha.values,
        "scale": ds.scale.values,
        "runs": [
            [_runs(ds.sel(alpha=alpha, scale=scale)) for alpha in ds.alpha.values]
            for scale in ds.scale.values
        ],
    }


def _surface(
    problem: Any,
    places: Sequence[pictures.Place],
    points: dict[str, StationaryPoint],
    alpha: float,
) -> dict[str, Any]:
    """The plane through the places, as `report.surface` takes it."""
    first, second, third = (place.params for place in places)
    plane = landscape.plane(problem.loss, first, second, third, num=CELLS)
    marks = [
        Mark(float(foot[0]), float(foot[1]), name, int(point.kind))
        for foot, (name, point) in zip(np.asarray(plane.points), points.items(), strict=False)
    ]
    title = f"alpha = {alpha:g}: the plane through the collapsed point and the best found"
    return surface(plane, title, marks)


def _runs(cell: Any) -> list[dict[str, Any]]:
    """Of one cell, as a table."""
    cell = cell.isel(seed=cell.computed.values)
    collapsed = cell.theory_collapsed.values & (cell.kind.values != Kind.NOT_STATIONARY)
    columns = {
        "seed": cell.seed.values,
        "label": cell.label.values,
        "energy": cell.loss.values,
        "index": cell.inertia_negative.values,
        "active": cell.active.values.sum(axis=-1),
        "gradient norm": cell.grad_norm.values,
        "moved by refinement": cell.refinement_moved.values,
        "collapsed": collapsed,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]
