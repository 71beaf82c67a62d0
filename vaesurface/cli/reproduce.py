"""The verb about the paper: its figures and propositions, each with a sentence that says whether
the claim held here.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from vaesurface.cli.answers import command, studied
from vaesurface.cli.names import among
from vaesurface.cli.options import (
    DATA,
    DISPERSION,
    LIKELIHOOD,
    LIKELIHOODS,
    Family,
    Json,
    Limit,
    Rows,
    Studies,
    Workers,
    awake,
    float64,
    load,
    verb,
)
from vaesurface.cli.places import directory
from vaesurface.cli.values import checked, count, positive, text, texts

__all__ = ["reproduce"]


class Trained(NamedTuple):
    """An experiment that trains networks.

    module: of `vaesurface.experiments`.
    function: in it, (plan, seeds, out, command) -> Study.
    plan: in it, for two cores.
    full: in it, the paper's plan.
    seeds: runs per network where the option is left out.
    """

    module: str
    function: str
    plan: str
    full: str
    seeds: int


TRAINED = {
    "fig1-left": Trained("fig1", "fig1_left", "LEFT", "LEFT_FULL", seeds=3),
    "fig1-middle": Trained("fig1", "fig1_middle", "MIDDLE", "MIDDLE_FULL", seeds=3),
    "fig1-right": Trained("fig1", "fig1_right", "RIGHT", "RIGHT_FULL", seeds=3),
    "fig2": Trained("fig2", "fig2", "PLAN", "PLAN_FULL", seeds=10),
    "warm-start": Trained("warm_start", "warm_start", "PLAN", "PLAN_FULL", seeds=24),
}
PROVED = ("prop41", "prop51")  # modules, and functions (out, command, full, seeds, executor)
PROVED_SEEDS = 3
BENT = "nonlinearities"  # the proposition, of every activation
NAMES = (*TRAINED, *PROVED, BENT)


@verb("reproduce fig1-left --out results/paper")
def reproduce(
    *,
    name: Annotated[
        str,
        typer.Argument(help=f"what of the paper: {', '.join(NAMES)}", autocompletion=among(NAMES)),
    ],
    full: Annotated[
        bool, typer.Option("--full", help="the paper's sizes and data sets, for a large machine")
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            help="name or path, as in other verbs; repeat it for several",
            callback=checked(texts),
            autocompletion=DATA,
        ),
    ] = None,
    limit: Limit = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="of Adam, for every network alike", callback=checked(count)),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds",
            help="runs per network, or tens of starts; default 3, fig2 10, warm-start 24",
            callback=checked(count),
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="of nonlinearities, four of them with few starts")
    ] = False,
    likelihood: Annotated[
        str,
        typer.Option(
            "--likelihood",
            help=f"of nonlinearities: {LIKELIHOOD}",
            callback=checked(text),
            autocompletion=LIKELIHOODS,
        ),
    ] = "gaussian",
    dispersion: Annotated[
        float | None,
        typer.Option("--dispersion", help=DISPERSION, callback=checked(positive)),
    ] = None,
    workers: Workers,
    out: Studies = Path("results/paper"),
    as_json: Json = False,
) -> int:
    """Make a figure or a proposition of the paper again.

    At a size for two cores. Run again with the same --out to go on.
    """
    if name not in NAMES:
        raise ValueError(f"expected one of {', '.join(NAMES)}, got {name}; choose one")
    workers.require_one_kind()
    directory(out)
    changes = {"sources": tuple(data) if data else None, "limit": limit, "steps": steps}
    changes = {field: value for field, value in changes.items() if value is not None}
    if name in PROVED and changes:
        raise ValueError(
            f"expected none of --data, --limit, --steps for {name}, got one; leave it out"
        )
    if name != BENT and (quick or likelihood != "gaussian" or dispersion is not None):
        raise ValueError(
            f"expected --quick, --likelihood and --dispersion with {BENT} only, got {name}; leave "
            f"them out"
        )
    float64()
    executor = workers.executor()
    if name == BENT:
        size = "FULL" if full else "QUICK" if quick else "PLAN"
        family = Family(likelihood=likelihood, dispersion=dispersion)
        study, table = _bent(size, family, changes, seeds or PROVED_SEEDS, executor, out)
        return studied(study, out, as_json, table)
    if name in PROVED:
        with awake("computing"):
            study = _proved(name, full, seeds or PROVED_SEEDS, executor, out)
    else:
        changes["executor"] = executor
        study = _trained(TRAINED[name], full, changes, seeds, out)
    return studied(study, out, as_json)


def _trained(
    experiment: Trained, full: bool, changes: dict[str, Any], seeds: int | None, out: Path
) -> Any:
    """The study of an experiment by its plan, some fields of it changed."""
    module = _module(experiment.module)
    plan = getattr(module, experiment.full if full else experiment.plan)._replace(**changes)
    for source in changes.get("sources", ()):  # all of them, before the first is trained on
        plan.networks(load(Rows(data=source, limit=plan.limit)), plan.latent, plan.depths[-1])
    function = getattr(module, experiment.function)
    return function(plan, seeds or experiment.seeds, out, command())


def _bent(
    size: str, family: Family, changes: dict[str, Any], seeds: int, executor: Any, out: Path
) -> Any:
    """The study of all activations, and its table."""
    from vaesurface.experiments.awake import Bar

    module = _module(BENT)
    plan = getattr(module, size)
    if "steps" in changes:
        plan = plan._replace(steps=changes["steps"])
    sources = changes.get("sources", (None,))
    if len(sources) > 1:
        raise ValueError(f"expected one data set for {BENT}, got {len(sources)}; give one --data")
    member = family.member()
    X, source = module.of_data(sources[0], changes.get("limit"), member)
    return module.nonlinearities(
        plan, seeds, X, source, member, out, command(), executor, partial(Bar, leave=False)
    )


def _proved(name: str, full: bool, seeds: int, executor: Any, out: Path) -> Any:
    """The study of a proposition."""
    return getattr(_module(name), name)(out, command(), full, seeds, executor)


def _module(name: str) -> Any:
    """Of `vaesurface.experiments`, imported when it is asked for."""
    from importlib import import_module

    return import_module(f"vaesurface.experiments.{name}")
