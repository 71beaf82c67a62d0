"""Verbs about many starts: sweep them, draw what came of it, make a page of all results."""

import tomllib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli.options import (
    Chosen,
    Data,
    Gamma,
    Json,
    Latent,
    Limit,
    Moved,
    Out,
    Results,
    app,
    float64,
    load,
    numbers,
    say,
    write,
)

DEMO: dict[str, Any] = {  # about a minute on two cores
    "alpha": [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4],
    "scale": [0.03, 0.1, 0.3, 1.0, 3.0],
    "seeds": 6,
    "limit": 200,
    "steps": 1500,
}


@app.command(epilog="Example: vaesurface demo --out results/demo")
def demo(
    data: Data = "digits-4x4",
    limit: Limit = None,
    latent: Latent = 2,
    out: Out = Path("results/demo"),
    as_json: Json = False,
) -> None:
    """Which starts collapse? A sweep over handwritten digits, with figures, a table and the answer
    in sentences.
    """
    note = ""
    if data == "digits-4x4" and limit is None:
        limit = DEMO["limit"]
        note = f"to save time: the first {limit} of 1797 digits, means over 2 × 2 pixels"
    swept, rows = _sweep(
        data,
        limit,
        latent,
        out / "sweep",
        **{k: DEMO[k] for k in ("alpha", "scale", "seeds", "steps")},
    )
    _report(swept, rows, out, as_json, note)


@app.command(
    epilog="Example: vaesurface sweep --data digits --limit 300 --alpha 0,0.1,0.3 --scale 0.1,1 "
    "--seeds 4 --out results/s"
)
def sweep(
    data: Annotated[
        str | None, typer.Option("--data", help="name or path; default digits-4x4")
    ] = None,
    limit: Limit = None,
    latent: Annotated[
        int | None, typer.Option("--latent", help="latent dimensions; default 2")
    ] = None,
    alpha: Annotated[
        str | None, typer.Option("--alpha", help="decoder perturbation strengths, comma separated")
    ] = None,
    scale: Annotated[
        str | None, typer.Option("--scale", help="initialization scales, comma separated")
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="starts per cell")] = None,
    gamma: Gamma = None,
    beta: Annotated[
        float | None, typer.Option("--beta", help="weight of the KL part; default 1")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option("--optimizer", help="adam, gradient-descent or lbfgs")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="optimizer steps")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="not for lbfgs")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with these settings; flags win")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="directory for the results; default results/sweep")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sweep alpha x initialization scale x seed; run again with the same --out to go on where it
    stopped or to add cells.
    """
    flags = {k: v for k, v in locals().items() if v is not None and k not in ("config", "as_json")}
    flags |= {k: numbers(k, flags[k]) for k in ("alpha", "scale") if k in flags}
    settings: dict[str, Any] = {
        "data": "digits-4x4",
        "latent": 2,
        "out": "results/sweep",
        "limit": None,
    }
    settings |= (
        {k: DEMO[k] for k in ("alpha", "scale", "seeds")}
        | (_toml(config) if config else {})
        | flags
    )
    source, limit, latent = (settings.pop(k) for k in ("data", "limit", "latent"))
    out = Path(settings.pop("out"))
    swept, rows = _sweep(source, limit, latent, out, **settings)
    _report(swept, rows, None, as_json, store=str(out))


@app.command(
    "slice", epilog="Example: vaesurface slice results/demo/sweep --alpha 0.1 --out figures"
)
def slice_(
    results: Results,
    alpha: Chosen = None,
    data: Moved = None,
    out: Out = Path("results/figures"),
    as_json: Json = False,
) -> None:
    """Energy along the line and over the plane through the collapsed point and the best points that
    a sweep found.
    """
    _figures(results, data, out, as_json, alpha, ("line", "plane"))


@app.command(epilog="Example: vaesurface plot results/demo/sweep --out figures")
def plot(
    results: Results,
    alpha: Chosen = None,
    data: Moved = None,
    out: Out = Path("results/figures"),
    as_json: Json = False,
) -> None:
    """Phase diagram of a sweep, and Hessian spectra of the collapsed and the best point at one
    alpha.
    """
    _figures(results, data, out, as_json, alpha, ("phase", "spectrum"))


@app.command(epilog="Example: vaesurface report results/demo")
def report(
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
    from vaesurface import report as pages

    if not results.is_dir():
        raise ValueError(
            f"expected a directory with results, got {results}; name the --out of another verb"
        )
    swept = next((p for p in (results, results / "sweep") if (p / "store.json").exists()), None)
    if swept is not None:
        float64()
        from vaesurface.experiments import starts
        from vaesurface.experiments.overview import overview

        opened = starts.reopen(swept, data)
        overview(opened, starts.found(opened), results / "report", f"vaesurface report {results}")
    found = [
        (study, place) for place in (results / "report", results) for study in pages.studies(place)
    ]
    order = {name: i for i, name in enumerate(("overview", "path", "basin", "follow", "network"))}
    found.sort(key=lambda one: order.get(one[0].name, len(order)))
    if not found:
        raise ValueError(
            f"expected results of sweep, path, follow, basin or network in {results}, got none; "
            f"run one first"
        )
    out = results / "report.html" if out is None else out
    pages.write(pages.page(found, f"vaesurface: {results.resolve().name}"), out)
    titles = [study.title for study, _ in found]
    say({"file": str(out), "studies": titles}, [*titles, f"wrote {out}"], as_json)
    return 0


def _sweep(
    source: str, limit: int | None, latent: int, out: Path, optimizer: str = "adam", **settings: Any
) -> Any:
    float64()
    from tqdm import tqdm

    from vaesurface import optimize
    from vaesurface.experiments import starts

    makers: dict[str, Any] = {
        "adam": optimize.adam,
        "gradient-descent": optimize.gradient_descent,
        "lbfgs": optimize.lbfgs,
    }
    if optimizer not in makers:
        raise ValueError(
            f"expected an optimizer out of {', '.join(makers)}, got {optimizer}; choose one of them"
        )
    own = {k: settings.pop(k) for k in ("steps", "learning_rate") if k in settings}
    if optimizer == "lbfgs" and "learning_rate" in own:
        raise ValueError(
            "expected no learning rate for lbfgs, got one; its line search sets it, so drop the "
            "option"
        )
    maker = partial(makers[optimizer], **own)
    X = load(source, limit)
    swept = starts.compute(X, source, latent, out, make_optimizer=maker, progress=tqdm, **settings)
    return swept, starts.found(swept)


def _report(
    swept: Any, rows: Any, out: Path | None, as_json: bool, note: str = "", **more: Any
) -> None:
    """Print what a sweep found; with `out`, leave table, labelled results, figures and the answer
    there.
    """
    from vaesurface import store
    from vaesurface.experiments import starts

    said, written = starts.answer(swept, rows), []
    if out is not None:
        written = starts.draw(swept, rows, out, note=note)
        store.save(swept.ds, out / "points.nc")
        write(out / "table.txt", starts.table(rows) + "\n")
        write(out / "answer.txt", "\n".join(said) + "\n")
        written += [out / name for name in ("points.nc", "table.txt", "answer.txt")]
    result = more | {
        "answer": said,
        "points": [r._asdict() for r in rows],
        "files": [str(p) for p in written],
    }
    say(result, [starts.table(rows, most=4), "", *said, *(f"wrote {p}" for p in written)], as_json)


def _figures(
    results: Path, source: str | None, out: Path, as_json: bool, alpha: float | None, kinds: Any
) -> None:
    float64()
    from vaesurface.experiments import starts

    swept = starts.reopen(results, source)
    out.mkdir(parents=True, exist_ok=True)
    written = [str(p) for p in starts.draw(swept, starts.found(swept), out, alpha, kinds)]
    say({"files": written}, [f"wrote {p}" for p in written], as_json)


def _toml(path: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected a TOML file, got {path}: {error}; mend it") from error
    kinds: dict[str, Any] = dict.fromkeys(("data", "optimizer", "out"), str) | dict.fromkeys(
        ("alpha", "scale"), list
    )
    kinds |= dict.fromkeys(("limit", "latent", "seeds", "steps"), int)
    kinds |= dict.fromkeys(("gamma", "beta", "learning_rate"), (int, float))
    for key, value in settings.items():
        if key not in kinds:
            raise ValueError(
                f"expected settings out of {', '.join(kinds)}, got {key} in {path}; rename or "
                f"drop it"
            )
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            raise ValueError(
                f"expected another type for {key} in {path}, got {value!r}; see `vaesurface "
                f"sweep --help`"
            )
    return settings
