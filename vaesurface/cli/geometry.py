"""Verbs about the surface between points: the rim of collapse, branches, basins, what is joined to
what.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli import names
from vaesurface.cli.answers import command, run, say, studied
from vaesurface.cli.options import (
    Draw,
    Family,
    Json,
    Model,
    Starts,
    Studies,
    Surface,
    Table,
    Terms,
    Workers,
    awake,
    float64,
    load,
    options_of,
    verb,
)
from vaesurface.cli.places import directory
from vaesurface.cli.values import checked, count, number, numbers, positive

__all__ = ["basin", "follow", "network", "path"]

RESULTS = Path("results/geometry")
MOVING = names.among(names.MOVING)


@verb("path --data antipodal --latent 1 --alpha 0.1 --out results/geometry")
def path(
    *,
    surface: Surface,
    starts: Starts = 6,
    draw: Draw,
    workers: Workers,
    out: Studies = RESULTS,
    as_json: Json = False,
) -> int:
    """Find the lowest pass out of collapse, and what it joins.

    How high is the rim of collapse? The path to something lower, its saddle, the barrier.
    """
    alpha = positive("--alpha", surface.alpha)  # where collapse is a minimum
    setting = _setting(surface, starts, draw, workers, out)
    from vaesurface.experiments.rim import rim

    with awake("climbing"):
        study = rim(setting, alpha)
    if isinstance(study, str):
        then = run("analyze", *options_of(surface))
        say({"found": False, "said": [study]}, [study], as_json, then)
        return 1
    return studied(study, out, as_json)


@verb("follow --data digits-4x4 --limit 100 --alpha 0.1 --to 1 --jump --out results/geometry")
def follow(
    *,
    surface: Surface,
    parameter: Annotated[
        str,
        typer.Option(
            "--parameter",
            help="what moves, from its own option on: alpha, gamma, beta",
            autocompletion=MOVING,
        ),
    ] = "alpha",
    to: Annotated[float, typer.Option("--to", help="where it moves to")] = 1.0,
    values: Annotated[
        int,
        typer.Option(
            "--values",
            help="how many values of it to meet exactly, ends included",
            callback=checked(count, least=2, most=10_000),
        ),
    ] = 11,
    jump: Annotated[
        bool, typer.Option("--jump", help="at a fold of the minimum, go on from where it falls to")
    ] = False,
    boundary: Annotated[
        str | None,
        typer.Option(
            "--boundary",
            help="follow the minimum's folds and branch points over this one too",
            autocompletion=MOVING,
        ),
    ] = None,
    between: Annotated[
        str | None,
        typer.Option("--between", help="two values that --boundary moves between: 0.01,0.1"),
    ] = None,
    starts: Starts = 6,
    draw: Draw,
    workers: Workers,
    out: Studies = RESULTS,
    table: Table = None,
    as_json: Json = False,
) -> int:
    """Follow stationary points as alpha, gamma or beta moves.

    They are the collapsed point, the best minimum found and the saddle between both; with folds,
    branch points and jumps.
    """
    first = _first(surface, parameter)
    to = number("--to", to, least=0) if parameter == "alpha" else positive("--to", to)
    if to == first:
        raise ValueError(f"expected --to other than {first:g}, got {to:g}; change either")
    second = _second(surface, parameter, boundary, between)
    setting = _setting(surface, starts, draw, workers, out, table)
    for name, value in [(parameter, to), *_ends(second)]:
        setting.problem(**{"alpha": surface.alpha} | {name: value})  # which may be out of range
    import numpy as np

    from vaesurface.experiments.branches import Second, branches

    moved = np.linspace(first, to, values)
    over = None if second is None else Second(*second)
    with awake("following"):
        study = branches(setting, parameter, moved, surface.alpha, jump, over)
    return studied(study, out, as_json, flat=table)


@verb("basin --data antipodal --latent 1 --alpha 0.05,0.1,0.2 --runs 20 --out results/geometry")
def basin(
    *,
    model: Model,
    alpha: Annotated[
        str,
        typer.Option("--alpha", help="decoder perturbation strengths > 0, comma separated"),
    ] = "0.05,0.1,0.2",
    terms: Terms,
    runs: Annotated[
        int,
        typer.Option(
            "--runs",
            help="runs per alpha and way to descend; 0: only widths",
            callback=checked(count, least=0),
        ),
    ] = 20,
    steps: Annotated[
        int, typer.Option("--steps", help="of Adam in those runs", callback=checked(count))
    ] = 1500,
    starts: Starts = 6,
    draw: Draw,
    workers: Workers,
    out: Studies = RESULTS,
    table: Table = None,
    as_json: Json = False,
) -> int:
    """Measure how wide and how large the basin of collapse is.

    How large depends on the way to descend; does noise carry runs out of it?
    """
    alphas = numbers("--alpha", alpha, positive)
    surface = Surface(model=model, alpha=min(alphas), terms=terms, family=Family())
    setting = _setting(surface, starts, draw, workers, out, table)
    from vaesurface.experiments.width import width

    with awake("measuring"):
        study = width(setting, alphas, runs, steps)
    return studied(study, out, as_json, flat=table)


@verb("network --data digits-4x4 --limit 60 --alpha 0.1 --starts 12 --out results/geometry")
def network(
    *,
    surface: Surface,
    pairs: Annotated[
        int,
        typer.Option(
            "--pairs",
            help="pairs of minima to connect at most",
            callback=checked(count, least=0),
        ),
    ] = 10,
    starts: Starts = 12,
    draw: Draw,
    workers: Workers,
    out: Studies = RESULTS,
    table: Table = None,
    as_json: Json = False,
) -> int:
    """List stationary points and how high the passes between them are.

    As a table and as a disconnectivity graph.
    """
    setting = _setting(surface, starts, draw, workers, out, table)
    from vaesurface.experiments.graph import graph

    with awake("exploring"):
        study = graph(setting, surface.alpha, pairs)
    return studied(study, out, as_json, flat=table)


def _setting(
    surface: Surface,
    starts: int,
    draw: Draw,
    workers: Workers,
    out: Path,
    table: Path | None = None,
) -> Any:
    """What the studies of geometry share, checked."""
    workers.require_one_kind()
    directory(out)
    model, terms = surface.model, surface.terms
    X = load(model)
    float64()
    from vaesurface.experiments.study import Setting

    setting = Setting(
        X=X,
        source=Path(model.data).name,
        latent=model.latent,
        gamma=terms.gamma,
        beta=terms.beta,
        starts=starts,
        scale=draw.scale,
        seed=draw.seed,
        out=out,
        command=command(),
        executor=workers.executor(),
        member=surface.family.member(),
        table=table,
    )
    setting.problem(surface.alpha)  # refuses what no problem can be made of
    return setting


def _second(
    surface: Surface, parameter: str, boundary: str | None, between: str | None
) -> tuple[str, float, tuple[float, float]] | None:
    """The second parameter's name, the value of its own option, and what it moves between."""
    if boundary is None:
        if between is not None:
            raise ValueError(
                "expected --boundary beside --between, got none; say what moves between "
                f"{between or 'them'}"
            )
        return None
    own = _first(surface, boundary, "--boundary")
    if boundary == parameter:
        raise ValueError(
            f"expected --boundary other than --parameter {parameter}, got {boundary}; change either"
        )
    check = partial(number, least=0) if boundary == "alpha" else positive
    ends = numbers("--between", between or "", check)
    if len(ends) != 2 or ends[0] == ends[1]:
        raise ValueError(
            f"expected two different values as --between, got {between or 'none'}; give where "
            f"{boundary} moves from and to: --between 0.01,0.1"
        )
    if not min(ends) <= own <= max(ends):
        raise ValueError(
            f"expected --between on both sides of --{boundary} {own:g}, got {between}; widen it"
        )
    return boundary, own, (ends[0], ends[1])


def _ends(second: tuple[str, float, tuple[float, float]] | None) -> list[tuple[str, float]]:
    """What the second parameter is at last, on both sides; nothing where there is none."""
    return [] if second is None else [(second[0], value) for value in second[2]]


def _first(surface: Surface, parameter: str, option: str = "--parameter") -> float:
    """Where the parameter moves from: the value of its own option."""
    values = {
        "alpha": surface.alpha,
        "gamma": surface.terms.gamma,
        "beta": surface.terms.beta,
    }
    if parameter not in values:
        raise ValueError(
            f"expected {option} out of alpha, gamma, beta, got {parameter}; choose one of them"
        )
    first = values[parameter]
    if first is None:
        raise ValueError("expected --gamma, where gamma moves from, got none; give it")
    return first
