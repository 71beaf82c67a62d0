"""The verb about the paper: its figures and propositions, each with a sentence that says whether
the claim held here.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli.options import Json, Limit, Studies, app, directory, float64, studied

TRAINED = {  # name -> module, function, plan for two cores, the paper's
    "fig1-left": ("fig1", "fig1_left", "LEFT", "LEFT_FULL"),
    "fig1-middle": ("fig1", "fig1_middle", "MIDDLE", "MIDDLE_FULL"),
    "fig1-right": ("fig1", "fig1_right", "RIGHT", "RIGHT_FULL"),
    "fig2": ("fig2", "fig2", "PLAN", "PLAN_FULL"),
    "warm-start": ("warm_start", "warm_start", "PLAN", "PLAN_FULL"),
}
PROVED = ("prop41", "prop51")
SEEDS = {"fig2": 10, "warm-start": 24}  # of others: 3


@app.command(epilog="Example: vaesurface reproduce fig1-left --out results/paper")
def reproduce(
    name: Annotated[
        str, typer.Argument(help=f"what of the paper: {', '.join([*TRAINED, *PROVED])}")
    ],
    full: Annotated[
        bool, typer.Option("--full", help="the paper's sizes and data sets, for a large machine")
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="name or path, as in other verbs; repeat it for several"),
    ] = None,
    limit: Limit = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="of Adam, for every network alike")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", help="runs per network; default 3, fig2 10, warm-start 24"),
    ] = None,
    out: Studies = Path("results/paper"),
    as_json: Json = False,
) -> int:
    """A figure or a proposition of the paper made again, at a size for two cores. Run again with
    the same --out to go on.
    """
    if name not in TRAINED and name not in PROVED:
        raise ValueError(
            f"expected one of {', '.join([*TRAINED, *PROVED])}, got {name}; choose one"
        )
    if seeds is not None and seeds < 1:
        raise ValueError(f"expected --seeds of 1 or more, got {seeds}; choose another number")
    directory(out)
    seeds = seeds or SEEDS.get(name, 3)
    changes = {"sources": tuple(data) if data else None, "limit": limit, "steps": steps}
    changes = {key: value for key, value in changes.items() if value is not None}
    command = shlex.join(["vaesurface", *sys.argv[1:]])
    float64()
    from importlib import import_module

    if name in PROVED:
        if changes:
            raise ValueError(
                f"expected none of --data, --limit, --steps for {name}, got one; leave it out"
            )
        make: Any = getattr(import_module(f"vaesurface.experiments.{name}"), name)
        return studied(make(out, command, full, seeds), out, as_json)
    module, function, small, large = TRAINED[name]
    experiment = import_module(f"vaesurface.experiments.{module}")
    plan = getattr(experiment, large if full else small)._replace(**changes)
    return studied(getattr(experiment, function)(plan, seeds, out, command), out, as_json)
