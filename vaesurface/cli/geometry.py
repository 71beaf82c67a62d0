"""Verbs about the surface between points: the rim of collapse, branches, basins, what is joined to
what.
"""

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli.options import (
    Alpha,
    Beta,
    Data,
    FirstSeed,
    Gamma,
    Json,
    Latent,
    Limit,
    Scale,
    Starts,
    Studies,
    app,
    directory,
    float64,
    load,
    numbers,
    say,
    studied,
)


@app.command(
    epilog="Example: vaesurface path --data antipodal --latent 1 --alpha 0.1 --out results/geometry"
)
def path(
    data: Data = "digits-4x4",
    limit: Limit = None,
    latent: Latent = 2,
    alpha: Alpha = 0.1,
    gamma: Gamma = None,
    beta: Beta = 1.0,
    starts: Starts = 6,
    scale: Scale = 1.0,
    seed: FirstSeed = 0,
    out: Studies = Path("results/geometry"),
    as_json: Json = False,
) -> int:
    """How high is the rim of collapse? The path to something lower, its saddle, the barrier, and
    what the saddle joins.
    """
    setting = _setting(data, limit, latent, gamma, beta, starts, scale, seed, out)
    from vaesurface.experiments.rim import rim

    study = rim(setting, _positive("--alpha", alpha))
    if study is None:
        said = (
            "no way over a saddle to anything lower than collapse was found; try more "
            "--starts or another --scale"
        )
        say({"found": False, "said": [said]}, [said], as_json)
        return 1
    return studied(study, out, as_json)


@app.command(
    epilog="Example: vaesurface follow --data digits-4x4 --limit 100 --alpha 0.1 --to 1 --jump "
    "--out results/geometry"
)
def follow(
    data: Data = "digits-4x4",
    limit: Limit = None,
    latent: Latent = 2,
    alpha: Alpha = 0.1,
    gamma: Gamma = None,
    beta: Beta = 1.0,
    parameter: Annotated[
        str,
        typer.Option("--parameter", help="what moves, from its own option on: alpha, gamma, beta"),
    ] = "alpha",
    to: Annotated[float, typer.Option("--to", help="where it moves to")] = 1.0,
    values: Annotated[
        int, typer.Option("--values", help="how many values of it to meet exactly, ends included")
    ] = 11,
    jump: Annotated[
        bool, typer.Option("--jump", help="at a fold of the minimum, go on from where it falls to")
    ] = False,
    starts: Starts = 6,
    scale: Scale = 1.0,
    seed: FirstSeed = 0,
    out: Studies = Path("results/geometry"),
    as_json: Json = False,
) -> int:
    """Where do the collapsed point, the saddle and the best minimum go as a hyper-parameter moves?
    Folds and branch points.
    """
    begin = {"alpha": alpha, "gamma": gamma, "beta": beta}
    if parameter not in begin:
        raise ValueError(
            f"expected --parameter out of alpha, gamma, beta, got {parameter}; choose one of them"
        )
    first = begin[parameter]
    if first is None:
        raise ValueError("expected --gamma, where gamma moves from, got none; give it")
    if values < 2 or to == first or not math.isfinite(to):
        raise ValueError(
            f"expected --to other than {first:g} and --values of 2 or more, got {to:g} and "
            f"{values}; change either"
        )
    setting = _setting(data, limit, latent, gamma, beta, starts, scale, seed, out)
    import numpy as np

    from vaesurface.experiments.branches import branches

    return studied(
        branches(setting, parameter, np.linspace(first, to, values), alpha, jump), out, as_json
    )


@app.command(
    epilog="Example: vaesurface basin --data antipodal --latent 1 --alpha 0.05,0.1,0.2 --runs 20 "
    "--out results/geometry"
)
def basin(
    data: Data = "digits-4x4",
    limit: Limit = None,
    latent: Latent = 2,
    alpha: Annotated[
        str, typer.Option("--alpha", help="decoder perturbation strengths > 0, comma separated")
    ] = "0.05,0.1,0.2",
    gamma: Gamma = None,
    beta: Beta = 1.0,
    runs: Annotated[
        int, typer.Option("--runs", help="runs per alpha and way to descend; 0: only widths")
    ] = 20,
    steps: Annotated[int, typer.Option("--steps", help="of Adam in those runs")] = 1500,
    starts: Starts = 6,
    scale: Scale = 1.0,
    seed: FirstSeed = 0,
    out: Studies = Path("results/geometry"),
    as_json: Json = False,
) -> int:
    """How wide is the basin of collapse, how large for which way to descend, and does noise carry
    runs out of it?
    """
    alphas = [_positive("--alpha", a) for a in numbers("alpha", alpha)]
    if runs < 0 or steps < 1:
        raise ValueError(
            f"expected --runs of 0 or more and --steps of 1 or more, got {runs} and {steps}; "
            f"change either"
        )
    setting = _setting(data, limit, latent, gamma, beta, starts, scale, seed, out)
    from vaesurface.experiments.width import width

    return studied(width(setting, alphas, runs, steps), out, as_json)


@app.command(
    epilog="Example: vaesurface network --data digits-4x4 --limit 60 --alpha 0.1 --starts 12 "
    "--out results/geometry"
)
def network(
    data: Data = "digits-4x4",
    limit: Limit = None,
    latent: Latent = 2,
    alpha: Alpha = 0.1,
    gamma: Gamma = None,
    beta: Beta = 1.0,
    pairs: Annotated[int, typer.Option("--pairs", help="pairs of minima to connect at most")] = 10,
    starts: Starts = 12,
    scale: Scale = 1.0,
    seed: FirstSeed = 0,
    out: Studies = Path("results/geometry"),
    as_json: Json = False,
) -> int:
    """Which stationary points are there, and how high are the passes between them? Table and
    disconnectivity graph.
    """
    if pairs < 0:
        raise ValueError(f"expected --pairs of 0 or more, got {pairs}; choose another number")
    setting = _setting(data, limit, latent, gamma, beta, starts, scale, seed, out)
    from vaesurface.experiments.graph import graph

    return studied(graph(setting, alpha, pairs), out, as_json)


def _setting(
    data: str,
    limit: int | None,
    latent: int,
    gamma: float | None,
    beta: float,
    starts: int,
    scale: float,
    seed: int,
    out: Path,
) -> Any:
    """What the studies of geometry share, checked."""
    if starts < 1 or not scale > 0:
        raise ValueError(
            f"expected --starts of 1 or more and --scale > 0, got {starts} and {scale:g}; change "
            f"either"
        )
    directory(out)
    X = load(data, limit)
    float64()
    from vaesurface.experiments.study import Setting

    command = shlex.join(["vaesurface", *sys.argv[1:]])
    setting = Setting(X, Path(data).name, latent, gamma, beta, starts, scale, seed, out, command)
    setting.problem(0.0)  # refuses what no problem can be made of
    return setting


def _positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(
            f"expected {name} > 0, where collapse is a minimum, got {value:g}; choose another value"
        )
    return value
