"""Verbs about many starts: sweep them, and see how far a sweep is."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli import grids
from vaesurface.cli.answers import opened, paragraphs, run, say
from vaesurface.cli.forecasts import explained, fitting
from vaesurface.cli.grids import Own, Settings
from vaesurface.cli.options import (
    Json,
    Model,
    Out,
    Rows,
    Table,
    Workers,
    awake,
    float64,
    load,
    verb,
)
from vaesurface.cli.pages import page_of
from vaesurface.cli.places import directory, store
from vaesurface.cli.values import checked, count, positive
from vaesurface.refusal import complaint

__all__ = ["demo", "status", "sweep"]

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
    "latent": [2],
    "out": "results/sweep",
}
Memory = Annotated[
    float | None,
    typer.Option(
        "--memory",
        help="GB for all workers together, as many at a time as fit; default: what is free",
        callback=checked(positive),
    ),
]


@dataclass(frozen=True, kw_only=True)
class Share:
    """Which share of the work this process does, and what is kept of it."""

    shard: Annotated[
        str | None,
        typer.Option("--shard", help="the i-th of n parts of the work, i/n, for job arrays"),
    ] = None
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size", help="cells in a block, the unit of work", callback=checked(count)
        ),
    ] = None
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            help="results to keep, comma separated, or all; verdicts always are, so that loss "
            "keeps no parameters; default: all but arrays of more than 256 kB a cell",
        ),
    ] = None

    def options(self) -> dict[str, Any]:
        """As `sweep.fill` takes them."""
        return {
            "shard": grids.shard("--shard", self.shard),
            "batch_size": self.batch_size,
            "keep": grids.options(self.keep),
        }


@verb("demo --out results/demo")
def demo(
    *,
    model: Model,
    workers: Workers,
    memory: Memory = None,
    out: Out = Path("results/demo"),
    table: Table = None,
    as_json: Json = False,
) -> int:
    """See which starts collapse, on handwritten digits.

    A sweep, figures, tables, the answer in sentences and a page of it all, report.html.
    """
    workers.require_one_kind()
    directory(out)
    data, limit, note = model.data, model.limit, ""
    if data == SWEEP["data"] and limit is None:
        limit = DEMO["limit"]
        note = f"to save time: the first {limit} of 1797 digits, means over 2 × 2 pixels"
    grid = {name: DEMO[name] for name in ("alpha", "scale", "seeds", "steps")}
    told = grid | {"data": data, "limit": limit, "latent": [model.latent], "seeds": DEMO["seeds"]}
    (asked,) = _asked(told).values()
    swept = _sweep(asked, out / "sweep", workers, memory, {})
    files = _tabulated({"": swept.ds}, table)
    ((swept, points),) = _distinct(swept).values()
    return _demonstrated(swept, points, out, note, files, as_json)


@verb("sweep --data digits --limit 300 --alpha 0,0.1,0.3 --scale 0.1,1 --seeds 4 --out results/s")
def sweep(
    *,
    settings: Settings,
    own: Own,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with these settings; flags win")
    ] = None,
    workers: Workers,
    share: Share,
    memory: Memory = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="say what it would take, and neither compute nor write"),
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="directory for the results; default results/sweep")
    ] = None,
    table: Table = None,
    as_json: Json = False,
) -> int:
    """Sweep alpha, scale and seed of starts, or a function of your own.

    Gamma, beta, latents and rows may be swept too. Run again with the same --out to go on where it
    stopped or to add cells.
    """
    workers.require_one_kind()
    options = share.options()
    told = grids.gathered(settings, own, config)
    place = Path(told.pop("out", SWEEP["out"]) if out is None else out)
    refusal = _refusal(place)
    asked = _of_function(told) if "function" in told else _asked(told)
    try:
        if explain:
            return explained(asked, place, workers, memory, options, as_json)
        if "function" in told:
            return _filled(asked, place, workers, memory, options, table, as_json)
        return _swept(asked, place, workers, memory, options, table, as_json)
    except OSError as error:
        raise refusal or error from error


@verb("status results/sweep")
def status(
    *,
    results: Annotated[Path, typer.Argument(help="directory of a sweep, or of several")],
    as_json: Json = False,
) -> int:
    """Say how far a sweep is, and how long it may take still.

    Cells planned, done, missing, running and failed, and by whom.
    """
    float64()
    from vaesurface.store.status import below

    stores = below(results) or {"": results}
    return _told(list(stores.values()), results, as_json)


def _told(places: list[Path], common: Path, as_json: bool) -> int:
    """Say how far stores below a place are; the exit code: 1 where something failed."""
    from vaesurface.store.status import read

    found = [read(place) for place in places]
    then = _after(found, common)
    if len(found) == 1:
        say(found[0].plain(), found[0].words, as_json, then)
    else:
        lines = [line for one in found for line in ("", f"{one.path}:", *one.words)]
        say({"stores": [one.plain() for one in found]}, lines[1:], as_json, then)
    return int(any(one.failed for one in found))


def _after(found: list[Any], place: Path) -> str:
    """What to do next with stores below a place."""
    if all(one.done == one.planned for one in found):
        return run("report", place)
    if any(one.running for one in found):
        return f"{run('status', place)} again, in a while"
    return "give the same `vaesurface sweep` again, which goes on with what is missing"


def _refusal(place: Path) -> ValueError | None:
    """Refuse a place where no results can be; of a store there that cannot be written to only when
    something is to be written.
    """
    try:
        store(place)
    except ValueError as error:
        if not (place.is_dir() and any(place.iterdir())):
            raise
        return error
    return None


def _asked(told: dict[str, Any]) -> dict[str, Any]:
    """Sweeps that are asked for, by the name of their store below the directory of the results: ""
    where there is one only.
    """
    float64()
    from vaesurface.experiments import member, starts

    told = SWEEP | {name: DEMO[name] for name in ("alpha", "scale", "seeds")} | told
    told.pop("out", None)
    chosen: dict[str, Any] = {
        name: told.pop(name) for name in ("steps", "learning_rate") if name in told
    }
    make_optimizer = _optimizer(told.pop("optimizer", "adam"), chosen)
    of = member.named(**{n: told.pop(n) for n in member.Member._fields if n in told})
    source, limit, latents = told.pop("data"), told.pop("limit"), told.pop("latent")
    rows = told.pop("rows", None)
    X = load(Rows(data=source, limit=limit))
    if rows is not None and max(rows) > len(X):
        remedy = "ask for fewer, or for more with --limit"
        raise complaint(f"--rows up to the data's {len(X)}", f"{max(rows)}", remedy)
    sweeps = {}
    for number, latent in ((n, k) for k in latents for n in rows or [len(X)]):
        several = {"latent": latent} if len(latents) > 1 else {}
        several |= {"rows": number} if len(rows or []) > 1 else {}
        sweeps[starts.named(**several)] = starts.asked(
            X[:number],
            source,
            latent,
            make_optimizer=make_optimizer,
            of=of,
            **told,
        )
    return sweeps


def _swept(
    asked: dict[str, Any],
    place: Path,
    workers: Workers,
    memory: float | None,
    options: dict[str, Any],
    table: Path | None,
    as_json: bool,
) -> int:
    """Sweep, and answer; while cells are missing say how far it is instead."""
    found = {
        name: _sweep(one, place / name, workers, memory, options) for name, one in asked.items()
    }
    files = _tabulated({name: swept.ds for name, swept in found.items()}, table)
    if not all(swept.ds.computed.all() for swept in found.values()):
        return _told([place / name for name in asked], place, as_json)
    answers = {
        ",".join(filter(None, (name, part))): (str(place / name), *_answered(swept, points))
        for name, whole in found.items()
        for part, (swept, points) in _distinct(whole).items()
    }
    if list(answers) == [""]:
        ((store, result, text),) = answers.values()
        whole = {"store": store} | result | {"files": files}
        say(whole, [*text, *_wrote(files)], as_json, run("plot", store))
        return 0
    results = [{"part": n, "store": store} | result for n, (store, result, _) in answers.items()]
    text = [line for n, (*_, lines) in answers.items() for line in (f"{n}:", *lines, "")]
    text = [*text[:-1], *_wrote(files)]
    whole = {"store": str(place), "parts": results, "files": files}
    say(whole, text, as_json, run("report", place))
    return 0


def _of_function(told: dict[str, Any]) -> dict[str, Any]:
    """The same of a function of the user's."""
    float64()
    from itertools import product

    from vaesurface.experiments import functions, starts

    function, each = told["function"], told.get("each", {})
    X = None
    if "X" in functions.takes(function) and "X" not in {**told["axis"], **told.get("set", {})}:
        X = load(Rows(data=told.get("data", SWEEP["data"]), limit=told.get("limit")))
    elif given := sorted(told.keys() & {"data", "limit"}):
        got = f"--{given[0]} for {function}, which has none"
        raise complaint("an argument X for the data", got, "drop the option")
    sweeps = {}
    for cell in product(*each.values()):
        values = dict(zip(each, cell, strict=True))
        fixed = told.get("set", {}) | values
        name = starts.named(**{k: v for k, v in values.items() if len(each[k]) > 1})
        sweeps[name] = functions.asked(function, told["axis"], fixed, X)
    return sweeps


def _filled(
    asked: dict[str, Any],
    place: Path,
    workers: Workers,
    memory: float | None,
    options: dict[str, Any],
    table: Path | None,
    as_json: bool,
) -> int:
    """Compute a function's results, and say what they are and how far that is."""
    from vaesurface.experiments import functions
    from vaesurface.experiments.awake import Bar
    from vaesurface.store.status import read

    results, text, found = [], [], {}
    if not workers.here:
        functions.carry(next(iter(asked.values())))
    for name, one in asked.items():
        executor = workers.executor(fitting(one, workers, memory))
        _tidy(place / name)
        ds = functions.compute(one, place / name, executor=executor, progress=Bar, **options)
        found[name], told, numbers = ds, read(place / name), functions.table(ds)
        results.append(told.plain())
        text += [f"{name}:"] * bool(name) + [numbers, "", told.words[0], f"in {place / name}", ""]
    files = _tabulated(found, table)
    result = {"stores": results} if len(results) > 1 else results[0]
    whole = result | {"files": files} if files else result
    then = f"read it in Python: vaesurface.store.open({str(place / name)!r})"
    say(whole, [*text[:-1], *_wrote(files)], as_json, then)
    return 0


def _sweep(
    asked: Any, out: Path, workers: Workers, memory: float | None, options: dict[str, Any]
) -> Any:
    """What a sweep has found when this process has done its share."""
    from vaesurface import data
    from vaesurface.experiments import starts
    from vaesurface.experiments.awake import Bar

    executor = workers.executor(fitting(asked, workers, memory))
    if not workers.here:
        asked.cell.keywords["of"].carry()
    _tidy(out)
    features = data.names(asked.settings["source"])
    return starts.compute(asked, out, executor=executor, progress=Bar, features=features, **options)


def _tidy(out: Path) -> None:
    """Remove what drivers that were killed left half written in a store."""
    from vaesurface import files

    for folder in (out, *(out / name for name in ("chunks", "plans", "failures", "payload"))):
        files.sweep(folder)


def _tabulated(found: dict[str, Any], table: Path | None) -> list[str]:
    """The files that datasets by the names of their stores are left in: one table, or none."""
    if table is None:
        return []
    import xarray as xr

    from vaesurface import store

    table.parent.mkdir(parents=True, exist_ok=True)
    store.save(xr.DataTree.from_dict({name or "/": ds for name, ds in found.items()}), table)
    return [str(table)]


def _wrote(files: list[str]) -> list[str]:
    """The lines that say so."""
    return [f"wrote {file}" for file in files]


def _distinct(swept: Any) -> dict[str, tuple[Any, Any]]:
    """The parts of a sweep by name, each with the distinct points in it."""
    from vaesurface.experiments import ends, starts

    with awake("telling points apart"):
        parts = starts.parts(swept)
        return {name: (part, ends.distinct(part)) for name, part in parts.items()}


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

    result = {
        "answer": ends.answer(swept, points),
        "points": [point._asdict() for point in points],
    }
    rows = ends.by_alpha(points).splitlines()
    said = [*ends.legend(points), *ends.prose(swept)]
    return result, paragraphs([ends.conclusion(points)], rows, said)


def _demonstrated(
    swept: Any, points: Any, out: Path, note: str, others: list[str], as_json: bool
) -> int:
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
    with awake("making the page"):
        page_of(out)
    names = [*map(str, (*written, out / "report.html")), *others]
    wrote = [f"wrote {name}" for name in names]
    then = opened(out / "report.html")
    say(result | {"files": names}, paragraphs(text, wrote), as_json, then)
    return 0
