"""The verb about cures: what helps against collapse, on traps, and for whom?"""

from pathlib import Path
from typing import Annotated

import typer

from vaesurface.cli.options import (
    Json,
    Studies,
    Workers,
    command,
    directory,
    float64,
    studied,
    verb,
)
from vaesurface.cli.values import checked, count

__all__ = ["cure"]


@verb("cure --out results/cures")
def cure(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="the antipodal traps only: some minutes")
    ] = False,
    starts: Annotated[
        int,
        typer.Option("--starts", help="of every exact trap", callback=checked(count)),
    ] = 100,
    network_starts: Annotated[
        int,
        typer.Option(
            "--network-starts",
            help="of every deep network; 0: no networks",
            callback=checked(count, least=0),
        ),
    ] = 20,
    workers: Workers,
    out: Studies = Path("results/cures"),
    as_json: Json = False,
) -> int:
    """What helps against collapse, how surely, at what cost: cures on traps of which all is known,
    from paired starts. Half an hour; run again with the same --out to go on.
    """
    workers.require_one_kind()
    directory(out)
    float64()
    from vaesurface.experiments import cures

    plan = cures.Plan(
        starts=starts,
        network_starts=0 if quick else network_starts,
        out=out,
        command=command(),
        families=cures.QUICK if quick else None,
        executor=workers.executor(),
    )
    return studied(cures.cures(plan), out, as_json)
