"""Verbs about many starts: sweep them, draw what came of it, make a page of all results."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli.options import (
    Chosen,
    Json,
    Limit,
    Model,
    Moved,
    Out,
    Results,
    Rows,
    awake,
    directory,
    float64,
    load,
    numbers,
    say,
    single_file,
    verb,
)

__all__ = ["demo", "plot", "report", "slice_", "sweep"]

DEMO: dict[str, Any] = {  # about a minute on two cores
    "alpha": [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4],
    "scale": [0.03, 0.1, 0.3, 1.0, 3.0],
    "seeds": 6,
    "limit": 200,
    "steps": 1500,
}
SWEEP: dict[str, Any] = {
    "data": "digits-4x4",
    "limit": None,
    "latent": 2,
    "out": "results/sweep",
}
TYPES: dict[str, Any] = {  # of the settings in a TOML file
    "data": str,
    "optimizer": str,
    "out": str,
    "alpha": list,
    "scale": list,
    "limit": int,
    "latent": int,
    "seeds": int,
    "steps": int,
    "gamma": (int, float),
    "beta": (int, float),
    "learning_rate": (int, float),
}
ORDER = ("overview", "path", "basin", "follow", "network")  # of studies on a page; others follow


@verb("demo --out results/demo")
def demo(
    *,
    model: Model,
    out: Out = Path("results/demo"),
    as_json: Json = False,
) -> int:
    """Which starts collapse? A sweep over handwritten digits, with figures, a table and the answer
    in sentences.
    """
    directory(out)
    data, limit, note = model.data, model.limit, ""
    if data == SWEEP["data"] and limit is None:
        limit = DEMO["limit"]
        note = f"to save time: the first {limit} of 1797 digits, means over 2 × 2 pixels"
    grid = {name: DEMO[name] for name in ("alpha", "scale", "seeds", "steps")}
    swept, points = _sweep(data, limit, model.latent, out / "sweep", **grid)
    return _demonstrated(swept, points, out, note, as_json)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `vaesurface sweep` takes from the command line or else from a TOML file."""

    data: Annotated[str | None, typer.Option("--data", help="name or path; default digits-4x4")] = (
        None
    )
    limit: Limit = None
    latent: Annotated[int | None, typer.Option("--latent", help="latent dimensions; default 2")] = (
        None
    )
    alpha: Annotated[
        str | None, typer.Option("--alpha", help="decoder perturbation strengths, comma separated")
    ] = None
    scale: Annotated[
        str | None, typer.Option("--scale", help="initialization scales, comma separated")
    ] = None
    seeds: Annotated[int | None, typer.Option("--seeds", help="starts per cell")] = None
    gamma: Annotated[
        float | None, typer.Option("--gamma", help="decoder variance; learned if not given")
    ] = None
    beta: Annotated[
        float | None, typer.Option("--beta", help="weight of the KL part; default 1")
    ] = None
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", help="adam, gradient-descent or lbfgs")
    ] = None
    steps: Annotated[int | None, typer.Option("--steps", help="optimizer steps")] = None
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="not for lbfgs")
    ] = None

    def chosen(self) -> dict[str, Any]:
        """Those that were given, grids as numbers."""
        settings = {name: value for name, value in vars(self).items() if value is not None}
        grids = settings.keys() & {"alpha", "scale"}
        return settings | {name: numbers(name, settings[name]) for name in sorted(grids)}


@verb("sweep --data digits --limit 300 --alpha 0,0.1,0.3 --scale 0.1,1 --seeds 4 --out results/s")
def sweep(
    *,
    settings: Settings,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with these settings; flags win")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="directory for the results; default results/sweep")
    ] = None,
    as_json: Json = False,
) -> int:
    """Sweep alpha x initialization scale x seed; run again with the same --out to go on where it
    stopped or to add cells.
    """
    values = SWEEP | {name: DEMO[name] for name in ("alpha", "scale", "seeds")}
    chosen = settings.chosen()
    values |= ({} if config is None else _toml(config)) | chosen
    if out is not None:
        values["out"] = out
    data, limit, latent, place = (values.pop(name) for name in ("data", "limit", "latent", "out"))
    swept, points = _sweep(data, limit, latent, Path(place), **values)
    result, text = _answered(swept, points)
    say({"store": str(Path(place))} | result | {"files": []}, text, as_json)
    return 0


@verb("slice results/demo/sweep --alpha 0.1 --out figures", name="slice")
def slice_(
    *,
    results: Results,
    alpha: Chosen = None,
    data: Moved = None,
    out: Out = Path("results/figures"),
    as_json: Json = False,
) -> int:
    """Energy along the line and over the plane through the collapsed point and the best points that
    a sweep found.
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
    """Phase diagram of a sweep, and Hessian spectra of the collapsed and the best point at one
    alpha.
    """
    return _figures(results, data, out, as_json, alpha, ("phase", "spectrum"))


@verb("report results/demo")
def report(
    *,
    results: Annotated[
        Path,
        typer.Argument(help="directory with what sweep, demo, path, follow, basin or network left"),
    ],
    data: Moved = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="the page; default report.html in that directory")
    ] = None,
    as_json: Json = False,
) -> int:
    """One HTML page of all results in a directory: verdicts with evidence, figures, a surface that
    turns, cells that open.
    """
    from vaesurface import files
    from vaesurface import report as pages

    if not results.is_dir():
        raise ValueError(
            f"expected a directory with results, got {results}; name the --out of another verb"
        )
    out = results / "report.html" if out is None else out
    single_file(out)
    files.inside(results, "report")  # a link there would be written through, too
    _overview(results, data)
    studies = [
        (study, place) for place in (results / "report", results) for study in pages.studies(place)
    ]
    if not studies:
        raise ValueError(
            f"expected results of sweep, path, follow, basin or network in {results}, got none; "
            f"run one first"
        )
    rank = {name: i for i, name in enumerate(ORDER)}
    studies.sort(key=lambda one: rank.get(one[0].name, len(rank)))
    files.write(out, pages.page(studies, f"vaesurface: {results.resolve().name}"))
    titles = [study.title for study, _ in studies]
    say({"file": str(out), "studies": titles}, [*titles, f"wrote {out}"], as_json)
    return 0


def _overview(results: Path, data: str | None) -> None:
    """Leave a study of the sweep in a directory of results, if there is one."""
    places = (results, results / "sweep")
    store = next((place for place in places if (place / "store.json").exists()), None)
    if store is None:
        return
    from vaesurface import files

    files.inside(results, store.relative_to(results))
    files.confined(store)
    data = data or _own_source(store)
    float64()
    from vaesurface.experiments import ends, starts
    from vaesurface.experiments.overview import overview

    swept = starts.reopen(store, data)
    overview(swept, ends.distinct(swept), results / "report", f"vaesurface report {results}")


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
            f"expected a store of `vaesurface sweep`, got {store} ({type(error).__name__}: "
            f"{error}); name another one"
        ) from error
    return data.within(source, store)


def _sweep(
    source: str, limit: int | None, latent: int, out: Path, optimizer: str = "adam", **settings: Any
) -> tuple[Any, Any]:
    """The finished sweep, and the distinct points that it found."""
    directory(out)
    float64()
    from vaesurface.cli.awake import Bar
    from vaesurface.experiments import ends, starts

    options: dict[str, Any] = {
        k: settings.pop(k) for k in ("steps", "learning_rate") if k in settings
    }
    make_optimizer = _optimizer(optimizer, options)
    X = load(Rows(data=source, limit=limit))
    swept = starts.compute(
        X, source, latent, out, make_optimizer=make_optimizer, progress=Bar, **settings
    )
    with awake("telling points apart"):
        return swept, ends.distinct(swept)


def _optimizer(name: str, options: dict[str, Any]) -> Any:
    """A function that makes an optimizer."""
    from vaesurface import optimize

    makers: dict[str, Any] = {
        "adam": optimize.adam,
        "gradient-descent": optimize.gradient_descent,
        "lbfgs": optimize.lbfgs,
    }
    if name not in makers:
        raise ValueError(
            f"expected an optimizer out of {', '.join(makers)}, got {name}; choose one of them"
        )
    if name == "lbfgs" and "learning_rate" in options:
        raise ValueError(
            "expected no learning rate for lbfgs, got one; its line search sets it, so drop the "
            "option"
        )
    return partial(makers[name], **options)


def _answered(swept: Any, points: Any) -> tuple[dict[str, Any], list[str]]:
    """What a sweep found, as JSON and as text."""
    from vaesurface.experiments import ends

    answer = ends.answer(swept, points)
    result = {"answer": answer, "points": [point._asdict() for point in points]}
    return result, [ends.table(points, most=4), "", *answer]


def _demonstrated(swept: Any, points: Any, out: Path, note: str, as_json: bool) -> int:
    """Leave figures, labelled results, table and answer in a directory, and print the answer."""
    from vaesurface import files, store
    from vaesurface.experiments import ends, pictures

    result, text = _answered(swept, points)
    with awake("drawing"):
        written = pictures.draw(swept, points, out, note=note)
        store.save(swept.ds, out / "points.nc")
    written += [out / name for name in ("points.nc", "table.txt", "answer.txt")]
    files.write(out / "table.txt", ends.table(points) + "\n")
    files.write(out / "answer.txt", "\n".join(result["answer"]) + "\n")
    names = [str(file) for file in written]
    say(result | {"files": names}, text + [f"wrote {name}" for name in names], as_json)
    return 0


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

    swept = starts.reopen(results, source)
    out.mkdir(parents=True, exist_ok=True)
    files = pictures.draw(swept, ends.distinct(swept), out, alpha, kinds)
    names = [str(file) for file in files]
    say({"files": names}, [f"wrote {name}" for name in names], as_json)
    return 0


def _toml(path: Path) -> dict[str, Any]:
    """Settings of a sweep from a TOML file."""
    from vaesurface import files

    try:
        settings = files.read_toml(path)
    except files.Refusal:
        raise
    except ValueError as error:
        raise ValueError(f"expected a TOML file, got {path}: {error}; mend it") from error
    for name, value in settings.items():
        if name not in TYPES:
            raise ValueError(
                f"expected settings out of {', '.join(TYPES)}, got {name} in {path}; rename or "
                f"drop it"
            )
        if not isinstance(value, TYPES[name]) or isinstance(value, bool):
            raise ValueError(
                f"expected another type for {name} in {path}, got {value!r}; see `vaesurface "
                f"sweep --help`"
            )
    return settings
