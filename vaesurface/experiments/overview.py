"""A sweep as a page shows it: which cells collapse, every run of a cell, and the points at the most
telling alpha.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaesurface import landscape, report
from vaesurface.experiments import starts
from vaesurface.experiments.study import spectra, surface, verdict
from vaesurface.plot import Mark
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind


def overview(swept: starts.Sweep, rows: Sequence[starts.Found], out: Path, command: str) -> Study:
    """Figures and the study go to `out`."""
    ds, alpha = swept.ds, starts.telling(rows)
    problem = swept.problem(alpha)
    cast = starts.cast(swept, rows, alpha)
    known = {
        name: p
        for name, (p, _) in zip(("collapsed point", "best found", "next best"), cast, strict=True)
        if p is not None
    }
    captions = {
        "line": f"Energy on the line between the collapsed point and the best one found, alpha = "
        f"{alpha:g}.",
        "plane": f"Energy over the plane through the collapsed point and the best found, alpha = "
        f"{alpha:g}.",
    }
    out.mkdir(parents=True, exist_ok=True)
    files = starts.draw(swept, rows, out, alpha, tuple(captions))
    cells = [[ds.sel(alpha=a, scale=s) for a in ds.alpha.values] for s in ds.scale.values]
    phase = {
        "kind": "phase",
        "title": ds.attrs["data"],
        "caption": "Share of runs that end collapsed. Click a cell, or choose one, to see its "
        "runs.",
        "alpha": ds.alpha.values,
        "scale": ds.scale.values,
        "runs": [[_runs(cell) for cell in row] for row in cells],
    }
    first, second, third = (p for _, p in cast)
    plane = landscape.plane(problem.loss, first, second, third, num=41)
    marks = [
        Mark(float(foot[0]), float(foot[1]), name, int(p.kind))
        for foot, (name, p) in zip(np.asarray(plane.points), known.items(), strict=False)
    ]
    title = f"alpha = {alpha:g}: the plane through the collapsed point and the best found"
    study = Study(
        "overview",
        "Which starts collapse?",
        starts.answer(swept, rows),
        [verdict(f"{name}, alpha = {alpha:g}", p) for name, p in known.items()],
        [Figure(file.name, captions[file.stem]) for file in files],
        [phase, surface(plane, title, marks), *spectra(problem, known)],
        {
            **swept.settings,
            **{k: ", ".join(f"{v:g}" for v in ds[k].values) for k in ("alpha", "scale")},
        },
        command,
    )
    report.save(study, out)
    return study


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
    return [
        dict(zip(columns, row, strict=True))
        for row in zip(*(c.tolist() for c in columns.values()), strict=True)
    ]
