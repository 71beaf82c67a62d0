"""Verbs about what a sweep left: figures of it, and a page of all results in a directory."""

import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli.options import (
    Chosen,
    Json,
    Moved,
    Out,
    Results,
    directory,
    float64,
    say,
    single_file,
    verb,
)

__all__ = ["plot", "report", "slice_"]

RECORD = ".jsonl"  # of a monitor
ORDER = ("overview", "path", "basin", "follow", "network")  # of studies on a page; others follow


@verb("slice results/demo/sweep --alpha 0.1 --out figures", name="slice")
def slice_(
    *,
    results: Results,
    alpha: Chosen = None,
    data: Moved = None,
    out: Out = Path("results/figures"),
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
    out: Out = Path("results/figures"),
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
        Path | None, typer.Option("--out", help="the page; default report.html in that directory")
    ] = None,
    as_json: Json = False,
) -> int:
    """Make one HTML page of all results below a directory.

    It has verdicts with their evidence, figures, a surface that turns, cells that open.
    """
    from vaesurface import files
    from vaesurface import report as pages

    if results.suffix == RECORD and results.is_file():
        return _report_of_one_run(results, out, as_json)
    if not results.is_dir():
        raise ValueError(
            f"expected a directory with results, got {results}; name the --out of another verb"
        )
    own = out is None  # else nothing is written into the results, which may not be ours
    out = results / "report.html" if out is None else out
    single_file(out)
    files.inside(results, "report")  # a link there would be written through, too
    with nullcontext(results / "report") if own else tempfile.TemporaryDirectory() as drawn:
        places = [*_overviews(results, data, Path(drawn)), results / "report", results]
        studies = _studies(dict.fromkeys(places)) + _runs(results, Path(drawn))
        if not studies:
            raise ValueError(
                f"expected results of sweep, path, follow, basin or network, or records of "
                f"monitors, in {results}, got none; run one first"
            )
        files.write(out, pages.page(studies, f"vaesurface: {results.resolve().name}"))
    titles = [study.title for study, _ in studies]
    say({"file": str(out), "studies": titles}, [*titles, f"wrote {out}"], as_json)
    return 0


def _report_of_one_run(path: Path, out: Path | None, as_json: bool) -> int:
    """The page of one record, beside it unless `out` says where."""
    from vaesurface import files
    from vaesurface import report as pages
    from vaesurface.monitor import record

    out = path.with_suffix(".html") if out is None else out
    single_file(out)
    with tempfile.TemporaryDirectory() as drawn:
        studies = [_run(record.load(path), path, Path(drawn))]
        files.write(out, pages.page(studies, f"vaesurface: {path.stem}"))
    study = studies[0][0]
    text = [study.title, *study.said, f"wrote {out}"]
    say({"file": str(out), "studies": [study.title], "said": list(study.said)}, text, as_json)
    return 0


def _runs(results: Path, out: Path) -> list[tuple[Any, Path]]:
    """Studies of the records of monitors in a directory; other files of that ending, and records
    without a look, are passed over.
    """
    from vaesurface.monitor import record

    found = []
    for path in sorted(results.glob(f"*{RECORD}")):
        try:
            kept = record.load(path)
        except ValueError as error:
            print(f"vaesurface: passed over {error}", file=sys.stderr)
            continue
        found += [_run(kept, path, out)] if kept.updates else []
    return found


def _run(kept: Any, path: Path, out: Path) -> tuple[Any, Path]:
    """The study of a record, which was kept at that path."""
    from vaesurface.monitor import page

    return page.study(kept, path.stem, out, f"vaesurface report {path}"), out


def _overviews(results: Path, data: str | None, out: Path) -> list[Path]:
    """Leave studies of the sweeps in a directory of results, each in a folder below `out`: these
    folders.
    """
    from vaesurface import files
    from vaesurface.experiments import starts
    from vaesurface.store.status import below

    for store in below(results).values():
        files.inside(results, store.relative_to(results))
        files.confined(store)
    stores = starts.stores(results)
    sources = {name: data or _own_source(store) for name, store in stores.items()}
    if not stores:
        return []
    float64()
    from vaesurface.experiments import ends
    from vaesurface.experiments.overview import overview

    folders = []
    for name, swept in _parts(stores, sources).items():
        folders.append(out / name)
        command = f"vaesurface report {results}"
        overview(swept, ends.distinct(swept), folders[-1], command, name)
    return folders


def _studies(places: Iterable[Path]) -> list[tuple[Any, Path]]:
    """Studies in some folders, in the order of a page, each once."""
    from vaesurface import report as pages

    found: dict[str, tuple[Any, Path]] = {}
    for place in places:
        for study in pages.studies(place):
            found.setdefault(study.name, (study, place))
    rank = {name: i for i, name in enumerate(ORDER)}
    return sorted(found.values(), key=lambda one: rank.get(_verb(one[0]), len(rank)))


def _verb(study: Any) -> str:
    return study.name.partition("-")[0]


def _own_source(store: Path) -> str:
    """Where the data of a store are, unless that is outside of it: who made it may have named
    anything.
    """
    from vaesurface import data, files

    try:
        source = files.read_json("store.json", within=store)["config"]["source"]
    except files.Refusal:
        raise
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"expected a store of `vaesurface sweep` without --function, got {store} "
            f"({type(error).__name__}: {error}); read it with store.open"
        ) from error
    return data.within(source, store)


def _parts(stores: dict[str, Path], sources: Mapping[str, str | None]) -> dict[str, Any]:
    """Sweeps over alpha, scale and seed, by name, of some stores; the name of a single one is "".

    sources: where their data are; None: where they were.
    """
    from vaesurface.experiments import starts

    found = {}
    for store, path in stores.items():
        for part, swept in starts.parts(starts.reopen(path, sources[store])).items():
            name = part if len(stores) == 1 else ",".join(filter(None, (store, part)))
            found[name] = swept
    return found


def _figures(
    results: Path,
    source: str | None,
    out: Path,
    as_json: bool,
    alpha: float | None,
    kinds: Sequence[str],
) -> int:
    """Draw from a store."""
    directory(out)
    float64()
    from vaesurface.experiments import ends, pictures, starts

    stores = starts.stores(results) or {"": results}  # which is refused
    written, left_out = [], ""
    for name, swept in _parts(stores, dict.fromkeys(stores, source)).items():
        (out / name).mkdir(parents=True, exist_ok=True)
        written += pictures.draw(swept, ends.distinct(swept), out / name, alpha, kinds)
        left_out = left_out or pictures.without_params(swept, kinds)
    names = [str(file) for file in written]
    result = {"files": names} | ({"left_out": left_out} if left_out else {})
    say(result, [f"wrote {name}" for name in names] + [left_out] * bool(left_out), as_json)
    return 0
