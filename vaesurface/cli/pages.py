"""Verbs about what a sweep left: figures of it, and a page of all results in a directory."""

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from vaesurface.cli import sections
from vaesurface.cli.answers import opened, run, say
from vaesurface.cli.options import (
    Chosen,
    Json,
    Moved,
    Results,
    awake,
    float64,
    verb,
)
from vaesurface.cli.places import directory, file_in
from vaesurface.cli.sections import RECORD

__all__ = ["page_of", "plot", "report", "slice_"]

PAGE = "report.html"
FIGURES = Path("results/figures")
Figures = Annotated[
    Path | None,
    typer.Option("--out", help=f"directory for the figures; default: {FIGURES}/, then its name"),
]


@verb("slice results/demo/sweep --alpha 0.1 --out figures", name="slice")
def slice_(
    *,
    results: Results,
    alpha: Chosen = None,
    data: Moved = None,
    out: Figures = None,
    as_json: Json = False,
) -> int:
    """Draw energies on a line and a plane through a sweep's points.

    Through the collapsed point and the best points that it found at one alpha.
    """
    return _figures(results, data, out, as_json, alpha, ("line", "plane"))


@verb("plot results/demo/sweep --out figures")
def plot(
    *,
    results: Results,
    alpha: Chosen = None,
    data: Moved = None,
    out: Figures = None,
    as_json: Json = False,
) -> int:
    """Draw a sweep's phase diagram and Hessian spectra.

    The spectra are of the collapsed and of the best point at one alpha.
    """
    return _figures(results, data, out, as_json, alpha, ("phase", "spectrum"))


@verb("report results/demo")
def report(
    *,
    results: Annotated[
        Path,
        typer.Argument(
            help="directory with what sweep, demo, path, follow, basin or network left, or with "
            "records of monitors (.jsonl), or one of these"
        ),
    ],
    data: Moved = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="directory or .html for the page; default: that directory"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Make one HTML page of all results below a directory.

    It has verdicts with their evidence, figures, a surface that turns, cells that open.
    """
    if results.suffix == RECORD and results.is_file():
        return _report_of_one_run(results, out, as_json)
    if not results.is_dir():
        raise ValueError(
            f"expected a directory with results, got {results}; name the --out of another verb"
        )
    if out is not None:
        out = file_in(out, PAGE)
    with awake("making the page"):
        titles = page_of(results, out, data)
    page = results / PAGE if out is None else out
    say({"file": str(page), "studies": titles}, [*titles, f"wrote {page}"], as_json, opened(page))
    return 0


def page_of(results: Path, out: Path | None = None, data: str | None = None) -> list[str]:
    """The titles of a page of all results below a directory, which is written: into that directory
    with what it takes, unless `out` names another place, for results may not be ours. Raises
    ValueError where there are none.
    """
    from vaesurface import files
    from vaesurface import report as pages

    page = file_in(results, PAGE) if out is None else out
    files.inside(results, "report")  # a link there would be written through, too
    kept = nullcontext(results / "report") if out is None else tempfile.TemporaryDirectory()
    with kept as drawn:
        studies = sections.of_folder(results, data, Path(drawn))
        if not studies:
            raise ValueError(
                f"expected results of sweep, path, follow, basin or network, or records of "
                f"monitors, in {results} or below, got none; run one first"
            )
        files.write(page, pages.page(studies, f"vaesurface: {results.resolve().name}"))
    return [study.title for study, _ in studies]


def _report_of_one_run(path: Path, out: Path | None, as_json: bool) -> int:
    """The page of one record, beside it unless `out` says where."""
    from vaesurface import files
    from vaesurface import report as pages
    from vaesurface.monitor import record

    beside = path.with_suffix(".html")
    out = file_in(beside if out is None else out, beside.name)
    with tempfile.TemporaryDirectory() as drawn:
        studies = [sections.of_record(record.load(path), path, Path(drawn))]
        files.write(out, pages.page(studies, f"vaesurface: {path.stem}"))
    study = studies[0][0]
    text = [study.title, *study.said, f"wrote {out}"]
    result = {"file": str(out), "studies": [study.title], "said": list(study.said)}
    say(result, text, as_json, opened(out))
    return 0


def _figures(
    results: Path,
    source: str | None,
    out: Path | None,
    as_json: bool,
    alpha: float | None,
    kinds: Sequence[str],
) -> int:
    """Draw from a store; into a folder of its name unless `out` says where, so that figures of two
    sweeps do not replace each other.
    """
    if out is None:
        out = FIGURES / results.resolve().name
    directory(out)
    float64()
    from vaesurface.experiments import ends, pictures, starts

    stores = starts.stores(results) or {"": results}  # which is refused
    written, left_out, sources = [], "", set()
    with awake("drawing"):
        for name, swept in sections.parts(stores, dict.fromkeys(stores, source)).items():
            sources.add(source or str(swept.settings["source"]))
            (out / name).mkdir(parents=True, exist_ok=True)
            written += pictures.draw(swept, ends.distinct(swept), out / name, alpha, kinds)
            left_out = left_out or pictures.without_params(swept, kinds)
    names = [str(file) for file in written]
    result = {"files": names} | ({"left_out": left_out} if left_out else {})
    text = [f"wrote {name}" for name in names] + [left_out] * bool(left_out)
    say(result, text, as_json, _paged(results, sources))
    return 0


def _paged(results: Path, sources: set[str]) -> str:
    """The command that makes a page of a sweep, with the data that were read: `report` reads none
    outside a directory unless they are named, for results may have been handed on.
    """
    from vaesurface import data

    then = ["report", results]
    for source in sources:
        try:
            data.within(source, results)
        except ValueError:
            then += ["--data", source]
    return run(*then)
