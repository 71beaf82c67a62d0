"""Options that several verbs have, and how verbs load data and print."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="digits, digits-4x4, patches, patches-32x32, antipodal; mnist, fashion-mnist, "
        "cifar-10, svhn (fetched from "
        "OpenML once); or a path: .npy .npz .csv IDX CIFAR SVHN folder",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", help="use the first LIMIT rows")]
Latent = Annotated[int, typer.Option("--latent", help="latent dimensions")]
Alpha = Annotated[float, typer.Option("--alpha", help="decoder perturbation strength")]
Gamma = Annotated[
    float | None, typer.Option("--gamma", help="decoder variance; learned if not given")
]
Beta = Annotated[float, typer.Option("--beta", help="weight of the KL part")]
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="find from this random start; default: the collapsed point"),
]
Scale = Annotated[float, typer.Option("--scale", help="initialization scale of that start")]
Point = Annotated[
    Path | None, typer.Option("--point", help=".npz with weight, bias, log_gamma, mean, log_std")
]
Refine = Annotated[
    bool, typer.Option("--refine", help="first refine --point to a stationary point nearby")
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of text")]
Out = Annotated[Path, typer.Option("--out", help="directory for the results")]
Results = Annotated[Path, typer.Argument(help="directory that `vaesurface sweep` made")]
Chosen = Annotated[
    float | None, typer.Option("--alpha", help="one of the sweep's; default: the most telling")
]
Moved = Annotated[
    str | None, typer.Option("--data", help="where the data are now; by default where they were")
]
Starts = Annotated[
    int, typer.Option("--starts", help="random starts that look for something lower than collapse")
]
FirstSeed = Annotated[int, typer.Option("--seed", help="of the first random start")]
Studies = Annotated[
    Path,
    typer.Option(
        "--out", help="directory for study, figures and arrays, and for `vaesurface report`"
    ),
]


def float64() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


def load(source: str, limit: int | None) -> Any:
    from vaesurface import data

    return data.load(source, limit=limit)


def make_problem(
    source: str, limit: int | None, latent: int, alpha: float, gamma: float | None, beta: float
) -> Any:
    float64()
    from vaesurface import vae

    return vae.threshold_vae(load(source, limit), latent, alpha, gamma, beta)


def numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(
            f"expected numbers with commas for --{name}, got {text!r}; write 0,0.1,0.5"
        ) from error


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def studied(study: Any, out: Path, as_json: bool) -> int:
    """Print what a study says, and where it is."""
    files = [str(out / figure.file) for figure in study.figures] + [str(out / f"{study.name}.json")]
    result = {"said": list(study.said), "verdicts": list(study.verdicts), "files": files}
    say(result, [*study.said, *(f"wrote {file}" for file in files)], as_json)
    return 0


def directory(out: Path) -> None:
    """Refuse a file where a directory for results should be."""
    if out.exists() and not out.is_dir():
        raise ValueError(
            f"expected a directory for the results, got the file {out}; name another place with "
            f"--out"
        )


def say(result: dict[str, Any], text: list[str], as_json: bool) -> None:
    """JSON has no infinities and no NaN: they become null."""

    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: plain(v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [plain(v) for v in x]
        return None if isinstance(x, float) and not math.isfinite(x) else x

    print(json.dumps(plain(result), allow_nan=False) if as_json else "\n".join(text))
