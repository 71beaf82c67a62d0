"""The verb about cures: what helps against collapse, on traps, and here?"""

from enum import StrEnum, auto
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli.answers import command, paragraphs, run, say, studied
from vaesurface.cli.options import (
    DATA,
    Json,
    Limit,
    Rows,
    Studies,
    Terms,
    Workers,
    awake,
    float64,
    load,
    verb,
)
from vaesurface.cli.places import directory
from vaesurface.cli.values import checked, count, existing, number, text

__all__ = ["Framework", "cure"]


class Framework(StrEnum):
    """In whose words lines are told."""

    pytorch = auto()
    keras = auto()
    jax = auto()


@verb("cure exported.npz --framework pytorch")
def cure(
    *,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="a trained VAE as `vaesurface diagnose` takes it: what helps there",
            callback=checked(existing),
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="or data, as in other verbs: what helps a threshold VAE of them",
            callback=checked(text),
            autocompletion=DATA,
        ),
    ] = None,
    limit: Limit = None,
    latent: Annotated[
        int, typer.Option("--latent", help="latent dimensions", callback=checked(count))
    ] = 2,
    alpha: Annotated[
        float,
        typer.Option(
            "--alpha", help="decoder perturbation strength", callback=checked(number, least=0)
        ),
    ] = 0.1,
    terms: Terms,
    framework: Annotated[
        Framework, typer.Option("--framework", help="of the lines to change")
    ] = Framework.pytorch,
    quick: Annotated[
        bool, typer.Option("--quick", help="of the board, the antipodal traps only: some minutes")
    ] = False,
    starts: Annotated[
        int, typer.Option("--starts", help="of every exact trap", callback=checked(count))
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
    """Say what helps against collapse, and which lines to change.

    For FILE or --data: the cheapest cure that worked on traps like it, and how surely. Without
    either: the board of cures x traps that says so, some eight minutes on two cores; run again
    with the same --out to go on.
    """
    _require_one(file, data)
    if file is not None:
        return _told(_of_file(file), framework, run("diagnose", file), as_json)
    if data is not None:
        found = _of_data(data, limit, latent, alpha, terms)
        return _told(found, framework, run("diagnose", "--help"), as_json)
    workers.require_one_kind()
    directory(out)
    float64()
    from vaesurface.experiments import cures

    plan = cures.Plan(
        starts=starts,
        network_starts=0 if quick else network_starts,
        out=out,
        command=command(),
        families=cures.QUICK if quick else (),
        executor=workers.executor(),
    )
    return studied(cures.cures(plan), out, as_json)


def _require_one(file: Path | None, data: str | None) -> None:
    if file is not None and data is not None:
        raise ValueError("expected FILE or --data, got both; drop one of them")


def _of_file(file: Path) -> Any:
    from vaesurface.experiments import advised

    with awake("diagnosing"):
        return advised.of_file(file)


def _of_data(source: str, limit: int | None, latent: int, alpha: float, terms: Terms) -> Any:
    float64()
    from vaesurface import vae
    from vaesurface.experiments import advised

    X = load(Rows(data=source, limit=limit))
    vae.threshold_vae(X, latent, alpha, terms.gamma, terms.beta)  # refuses what makes no problem
    return advised.of_problem(X, latent, alpha, terms.gamma, terms.beta)


def _told(found: Any, framework: str, again: str, as_json: bool) -> int:
    """Print what helps; 1 where nothing is known to.

    again: the command that says whether it did.
    """
    from vaesurface.experiments import advised

    result = advised.words(found, str(framework))
    names = f" ({result['names']})" if result["names"] else ""
    lines = [f"In {framework}{names}:", result["lines"]] if result["lines"] else []
    then = f"{again}  # with these lines changed, trained and exported again"
    if str(result["label"]).startswith("no collapse"):
        then = ""
    elif not lines:
        then = f"{run('cure', '--quick')}  # the board that says what helps on which trap: minutes"
    say(result, paragraphs([result["label"]], result["said"], lines), as_json, then)
    return 0 if result["lines"] else 1
