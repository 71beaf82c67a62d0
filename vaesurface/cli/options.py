"""What do the verbs share? Options, each declared once, bundles of them, and how data are loaded.

A verb is a function under `@verb(example)`. A parameter whose type is a dataclass is a bundle: on
the command line its fields stand in its place, in their order.

>>> from inspect import signature
>>> [parameter.name for parameter in _options(signature(Surface))][:6]
['data', 'limit', 'latent', 'alpha', 'gamma', 'beta']
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

import vaesurface
from vaesurface.cli import groups, names, programs
from vaesurface.cli.values import checked, count, existing, first_seed, number, positive, text
from vaesurface.refusal import complaint, located

__all__ = [
    "Alpha",
    "Chosen",
    "Data",
    "Draw",
    "Family",
    "Json",
    "Limit",
    "Model",
    "Moved",
    "Out",
    "Results",
    "Rows",
    "Start",
    "Starts",
    "Studies",
    "Surface",
    "Table",
    "Terms",
    "Workers",
    "app",
    "float64",
    "load",
    "make_problem",
    "options_of",
    "verb",
]

SILENCE = 2.0  # seconds without a word at most
WIDEST = 100  # columns of a page of help

# What options of a member of the family are, in any verb.
ACTIVATION = (
    f"what bends the decoder: {', '.join(names.ACTIVATIONS)}, or a JAX function of your own, "
    "MODULE:FUNCTION"
)
LIKELIHOOD = f"{', '.join(names.LIKELIHOODS)}; hyphens may stand for spaces"
POSTERIOR = "of each datum: diagonal, full or low-rank-R; or amortized, all by one affine encoder"
DISPERSION = "r of a negative binomial, whose variance is mean + mean^2 / r"

app = typer.Typer(
    cls=groups.Grouped,
    help="The loss surface of variational autoencoders: which runs collapse, and why.",
    epilog="VERB --help shows a verb's options and an example. New here? vaesurface demo",
    context_settings={"max_content_width": WIDEST},
    subcommand_metavar="VERB ...",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# What a shell completes their values to.
DATA = names.among(names.SHIPPED + names.FETCHED)
ACTIVATIONS = names.among(names.ACTIVATIONS)
LIKELIHOODS = names.among(names.LIKELIHOODS)
POSTERIORS = names.among(names.POSTERIORS)

Data = Annotated[
    str,
    typer.Option(
        "--data",
        help=f"{', '.join(names.SHIPPED)}; {', '.join(names.FETCHED)} (fetched from OpenML once); "
        "or a path: .npy .npz .csv .tsv .mat .parquet .feather .arrow IDX CIFAR SVHN, also .gz, or "
        "a folder of images",
        callback=checked(text),
        autocompletion=DATA,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", help="use the first LIMIT rows", callback=checked(count, least=2, most=10**9)
    ),
]
Alpha = Annotated[
    float,
    typer.Option(
        "--alpha", help="decoder perturbation strength", callback=checked(number, least=0)
    ),
]
Scale = Annotated[
    float,
    typer.Option(
        "--scale", help="initialization scale of random starts", callback=checked(positive)
    ),
]
Starts = Annotated[
    int,
    typer.Option(
        "--starts",
        help="random starts that look for something lower than collapse",
        callback=checked(count),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of text")]


def _flat(name: str, path: Path) -> Path:
    """A file for a table."""
    from vaesurface.store import flat

    with located(name):
        flat.require(path)
    return path


Table = Annotated[
    Path | None,
    typer.Option(
        "--table",
        help="file for a table of the results, .csv or .parquet, a row for each cell or point",
        callback=checked(_flat),
    ),
]
Out = Annotated[Path, typer.Option("--out", help="directory for the results")]
Studies = Annotated[
    Path,
    typer.Option(
        "--out", help="directory for study, figures and arrays, and for `vaesurface report`"
    ),
]
Results = Annotated[Path, typer.Argument(help="directory that `vaesurface sweep` made")]
Chosen = Annotated[
    float | None,
    typer.Option(
        "--alpha",
        help="one of the sweep's; default: the most telling",
        callback=checked(number, least=0),
    ),
]
Moved = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="where the data are now; by default where they were",
        callback=checked(text),
        autocompletion=DATA,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Which data."""

    data: Data = "digits-4x4"
    limit: Limit = None


@dataclass(frozen=True, kw_only=True)
class Model(Rows):
    """Which data, and how many latent dimensions they are given."""

    latent: Annotated[
        int, typer.Option("--latent", help="latent dimensions", callback=checked(count))
    ] = 2


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How the two parts of the energy are weighed."""

    gamma: Annotated[
        float | None,
        typer.Option(
            "--gamma", help="decoder variance; learned if not given", callback=checked(positive)
        ),
    ] = None
    beta: Annotated[
        float, typer.Option("--beta", help="weight of the KL part", callback=checked(positive))
    ] = 1.0


@dataclass(frozen=True, kw_only=True)
class Family:
    """Which member of the family of VAEs."""

    activation: Annotated[
        str,
        typer.Option(
            "--activation", help=ACTIVATION, callback=checked(text), autocompletion=ACTIVATIONS
        ),
    ] = "soft threshold"
    likelihood: Annotated[
        str,
        typer.Option(
            "--likelihood", help=LIKELIHOOD, callback=checked(text), autocompletion=LIKELIHOODS
        ),
    ] = "gaussian"
    posterior: Annotated[
        str,
        typer.Option(
            "--posterior", help=POSTERIOR, callback=checked(text), autocompletion=POSTERIORS
        ),
    ] = "diagonal"
    dispersion: Annotated[
        float | None,
        typer.Option("--dispersion", help=DISPERSION, callback=checked(positive)),
    ] = None

    def member(self) -> Any:
        """As `experiments.member` has it."""
        from vaesurface.experiments import member

        return member.named(**vars(self))


@dataclass(frozen=True, kw_only=True)
class Surface:
    """One loss surface."""

    model: Model
    alpha: Alpha = 0.1
    terms: Terms
    family: Family


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a point comes from: a random start, a file, or else collapse."""

    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            help="find from this random start; default: the collapsed point",
            callback=checked(first_seed),
        ),
    ] = None
    scale: Scale = 0.1
    point: Annotated[
        Path | None,
        typer.Option(
            "--point",
            help=".npz with weight, bias, log_gamma, mean, log_std",
            callback=checked(existing),
        ),
    ] = None
    refine: Annotated[
        bool, typer.Option("--refine", help="first refine --point to a stationary point nearby")
    ] = False


@dataclass(frozen=True, kw_only=True)
class Draw:
    """How random starts are drawn."""

    scale: Scale = 1.0
    seed: Annotated[
        int,
        typer.Option("--seed", help="of the first random start", callback=checked(first_seed)),
    ] = 0


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who computes what can be done side by side."""

    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            help="processes on this machine; default: threads of one, on all cores it may use",
            callback=checked(count, most=4096),
        ),
    ] = None
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            help="workers of a dask cluster instead, by its address: tcp://host:8786",
            callback=checked(text),
        ),
    ] = None
    scheduler_file: Annotated[
        Path | None,
        typer.Option(
            "--scheduler-file",
            help="the same by the file that its scheduler wrote",
            callback=checked(existing),
        ),
    ] = None

    def require_one_kind(self) -> None:
        """Refuse options of which one would be passed over."""
        names = ("workers", "scheduler", "scheduler_file")
        given = [f"--{n.replace('_', '-')}" for n in names if getattr(self, n) is not None]
        if len(given) > 1:
            raise complaint("one kind of workers", " and ".join(given), "drop one of them")

    @property
    def here(self) -> bool:
        """Whether they are of this machine."""
        return self.scheduler is None and self.scheduler_file is None

    def executor(self, most: int | None = None) -> Any:
        """What starts them, as `sweep.grid` takes it; most: of this machine, at a time."""
        from vaesurface import sweep

        self.require_one_kind()
        if not self.here:
            return sweep.cluster(self.scheduler, scheduler_file=self.scheduler_file)
        if self.workers is None:
            return partial(sweep.threads, most)
        return partial(sweep.processes, self.workers if most is None else most)


def verb(example: str, name: str | None = None) -> Callable[[Callable[..., int]], Any]:
    """Make a function, which returns an exit code, a verb with an example below its help.

    name: of the verb where Python has a use for it.
    """

    def register(function: Callable[..., int]) -> Callable[..., int]:
        bundled = signature(function)

        def call(**values: Any) -> int:
            # Data are loaded and files written, too; where nobody looks there is no line.
            with awake(name or function.__name__, after=SILENCE, disable=None):
                return function(**_arguments(bundled, values))

        call.__name__, call.__doc__ = function.__name__, function.__doc__
        vars(call)["__signature__"] = Signature(list(_options(bundled)))  # which typer reads
        app.command(name, epilog=f"\b\nExample: vaesurface {example}")(call)
        return function

    return register


def _options(bundled: Signature) -> Iterator[Parameter]:
    """The parameters of a signature, those of bundles in place of these."""
    for parameter in bundled.parameters.values():
        bundle = _bundle(parameter)
        if bundle is None:
            yield parameter.replace(kind=Parameter.KEYWORD_ONLY)
        else:
            yield from _options(signature(bundle))


def _arguments(bundled: Signature, values: dict[str, Any]) -> dict[str, Any]:
    """Values by option gathered into the arguments of a signature."""
    arguments = {}
    for name, parameter in bundled.parameters.items():
        bundle = _bundle(parameter)
        if bundle is None:
            arguments[name] = values[name]
        else:
            arguments[name] = bundle(**_arguments(signature(bundle), values))
    return arguments


def _bundle(parameter: Parameter) -> Any:
    """The dataclass that the parameter's type is, or None."""
    kind: Any = parameter.annotation
    return kind if is_dataclass(kind) else None


def _told_version(asked: bool) -> None:
    """Print the version and end, where that is asked for."""
    if asked:
        print("vaesurface", vaesurface.__version__)
        raise typer.Exit


@app.callback()
def _program(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_told_version
        ),
    ] = False,
) -> None:
    # No docstring: it would stand in the first page of help.
    pass


def float64() -> None:
    """Switch JAX to float64, which all analysis needs, and keep what it compiles."""
    programs.keep()
    import jax

    from vaesurface.experiments import compiling

    jax.config.update("jax_enable_x64", True)
    compiling.listen()


def load(rows: Rows) -> Any:
    """The data (n, d)."""
    from vaesurface import data

    return data.load(rows.data, limit=rows.limit)


def options_of(surface: Any, **others: Any) -> list[str]:
    """A bundle's options and others, where they are not what they are by default, as words of a
    command line.
    """
    words = []
    for name, value, default in _values(surface):
        if value != default:
            words += [f"--{name.replace('_', '-')}", _word(value)]
    for name, value in others.items():
        if value is not None:
            words += [f"--{name}", _word(value)]
    return words


def _values(bundle: Any) -> Iterator[tuple[str, Any, Any]]:
    """Names, values and defaults of a bundle's fields, those of bundles in it too."""
    for field in fields(bundle):
        value = getattr(bundle, field.name)
        if is_dataclass(value):
            yield from _values(value)
        else:
            yield field.name, value, field.default


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def make_problem(surface: Surface) -> Any:
    """The loss surface."""
    float64()
    member, model, terms = surface.family.member(), surface.model, surface.terms
    return member.problem(load(model), model.latent, surface.alpha, terms.gamma, terms.beta)


@contextmanager
def awake(what: str, **options: Any) -> Iterator[None]:
    """As `experiments.awake`, which takes some time to load."""
    from vaesurface.experiments.awake import awake

    with awake(what, **options):
        yield
