"""Which sections has the page of a directory? Those of its sweeps, studies and records of monitors,
and of all folders below it, down to the stores of sweeps, whose inside is nobody's business.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as results:
...     for name in ("a/b", "a/report", "report"):
...         (Path(results) / name).mkdir(parents=True)
...     [folder.relative_to(results).as_posix() for folder in folders(Path(results))]
['.', 'a', 'a/b']
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from vaesurface.cli.answers import run
from vaesurface.cli.options import float64

__all__ = ["RECORD", "folders", "of_folder", "of_record", "parts"]

RECORD = ".jsonl"  # of a monitor
REPORT = "report"  # the folder that `vaesurface report` leaves beside its page
ORDER = ("overview", "path", "basin", "follow", "network")  # of studies on a page; others follow
CAPTIONS = {  # of what `slice` and `plot` draw, by the names of their files
    "phase": "Which share of the starts collapses.",
    "line": "Energy on the line between the collapsed point and the best one found.",
    "plane": "Energy over the plane through the collapsed point and the best found.",
    "spectrum_collapsed": "Hessian eigenvalues at the collapsed point.",
    "spectrum_best": "Hessian eigenvalues at the best point found.",
}

Section = tuple[Any, Path]  # a study, and the folder that its figures are in


def folders(results: Path) -> Iterator[Path]:
    """A directory and those below it; no links, no stores, nothing hidden, and not what was made
    for an earlier page.
    """
    from vaesurface import store

    yield results
    if store.is_store(results):
        return
    for one in sorted(results.iterdir()):
        passed_over = one.name.startswith(".") or one.name == REPORT or one.is_symlink()
        if one.is_dir() and not passed_over and not store.is_store(one):
            yield from folders(one)


def of_folder(results: Path, data: str | None, drawn: Path) -> list[Section]:
    """All sections, a folder's own before those below it; drawn: where figures may be left that
    are made for the page.
    """
    own = [*_overviews(results, results, data, drawn), results / REPORT, results]
    found = _studies(dict.fromkeys(own)) + _runs(results, drawn)
    found = found or _figures(results)
    for folder in list(folders(results))[1:]:
        name = folder.relative_to(results).as_posix()
        found += [
            (_renamed(study, name), place)
            for study, place in _below(folder, results, data, drawn / name)
        ]
    return found


def _below(folder: Path, results: Path, data: str | None, drawn: Path) -> list[Section]:
    """Of one folder further down, where files of others may lie: these are passed over."""
    from vaesurface import files

    overviews = _overviews(folder, results, data, drawn)
    try:
        found = _studies([*overviews, folder])
    except files.Refusal:
        raise
    except ValueError as error:
        print(f"vaesurface: passed over {folder}: {error}", file=sys.stderr)
        found = _studies(overviews)
    return (found + _runs(folder, drawn)) or _figures(folder)


def _renamed(study: Any, folder: str) -> Any:
    """A study under a name and a title that say where it lies."""
    name = f"{folder}-{study.name}".replace(" ", "-")
    inside = study.title.endswith(")")
    title = f"{study.title[:-1]}, {folder})" if inside else f"{study.title} ({folder})"
    return study._replace(name=name, title=title)


def _figures(folder: Path) -> list[Section]:
    """The figures of `slice` and `plot` in a folder, as a study."""
    from vaesurface import report

    there = {name: folder / f"{name}.png" for name in CAPTIONS}
    figures = [
        report.Figure(path.name, CAPTIONS[name]) for name, path in there.items() if path.is_file()
    ]
    if not figures:
        return []
    return [(report.Study(name="figures", title="Figures of a sweep", figures=figures), folder)]


def _runs(results: Path, out: Path) -> list[Section]:
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
        found += [of_record(kept, path, out)] if kept.updates else []
    return found


def of_record(kept: Any, path: Path, out: Path) -> Section:
    """The study of a record, which was kept at that path; its figures go to `out`."""
    from vaesurface.monitor import page

    return page.study(kept, path.stem, out, run("report", path)), out


def _overviews(folder: Path, results: Path, data: str | None, out: Path) -> list[Path]:
    """Leave studies of the sweeps in a folder of the results, each in a folder below `out`: these
    folders.
    """
    from vaesurface import files
    from vaesurface.experiments import starts
    from vaesurface.store.status import below

    for store in below(folder).values():
        files.inside(folder, store.relative_to(folder))
        files.confined(store)
    stores = starts.stores(folder)
    sources = {name: data or _own_source(store) for name, store in stores.items()}
    if not stores:
        return []
    float64()
    from vaesurface.experiments import ends
    from vaesurface.experiments.overview import overview

    made = []
    for name, swept in parts(stores, sources).items():
        made.append(out / name)
        overview(swept, ends.distinct(swept), made[-1], run("report", results), name)
    return made


def _studies(places: Iterable[Path]) -> list[Section]:
    """Studies in some folders, in the order of a page, each once."""
    from vaesurface import report

    found: dict[str, Section] = {}
    for place in places:
        for study in report.studies(place):
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


def parts(stores: dict[str, Path], sources: Mapping[str, str | None]) -> dict[str, Any]:
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
