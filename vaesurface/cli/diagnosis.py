"""The verb about anyone's VAE: which kind of collapse does it show?"""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli.options import Json, app, say


@app.command(epilog="Example: vaesurface diagnose exported.npz --out results/diagnosis")
def diagnose(
    file: Annotated[
        Path,
        typer.Argument(
            help=".npz with x, mean, log_std, reconstruction, gamma, and more: docs/diagnose.md "
            "says which"
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="directory for study and figure, and for `vaesurface report`"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Say which of the paper's five kinds of posterior collapse a trained VAE shows, why, and what
    would change it.
    """
    from vaesurface import diagnose

    found = diagnose.load(file)
    result = _numbers(found)
    text = [
        found.label,
        *(f"{k}: {v}" for k, v in found.evidence.items()),
        f"what would change it: {found.change}",
    ]
    if out is not None:
        result["files"] = _written(found, file, out)
        text += [f"wrote {name}" for name in result["files"]]
    say(result, text, as_json)
    return 0


def _numbers(found: Any) -> dict[str, Any]:
    """All that a diagnosis of arrays holds, plain."""
    import numpy as np

    from vaesurface.diagnose import Collapse

    def plain(value: Any) -> Any:
        if hasattr(value, "_asdict"):
            return {k: plain(v) for k, v in value._asdict().items()}
        return value.tolist() if isinstance(value, np.ndarray | np.generic) else value

    fields = {k: plain(v) for k, v in found._asdict().items() if k != "search"}
    words = {"kind": found.kind.name, "kinds": [Collapse(int(c)).name for c in found.kinds]}
    return {
        "label": found.label,
        **fields,
        **words,
        "evidence": found.evidence,
        "change": found.change,
    }


def _written(found: Any, file: Path, out: Path) -> list[str]:
    """Study and figure, for a page."""
    import numpy as np

    from vaesurface import plot, report
    from vaesurface.diagnose import Collapse
    from vaesurface.diagnose.diagnosis import ACTIVE_NATS
    from vaesurface.experiments.study import draw

    sigma = np.repeat(0.05 * np.arange(len(found.counts)), found.counts)
    kinds = ["active" if c == Collapse.NONE else Collapse(int(c)).words for c in found.kinds]
    level = found.beta * found.gamma
    look: dict[str, Any] = {"kinds": kinds, "active": ACTIVE_NATS, "title": file.name}
    caption = (
        "What each latent carries; posterior deviations; variance that is left in the "
        "residual, against beta gamma."
    )
    figure = draw(
        out,
        "diagnose",
        caption,
        lambda: plot.diagnosis(found.kl, sigma, found.residual, level, **look)[0],
    )
    study = report.Study(
        "diagnose",
        "Which kind of posterior collapse?",
        [found.label, found.change],
        [
            {
                "name": file.name,
                "label": found.label,
                "energy": found.energy,
                "evidence": found.evidence,
            }
        ],
        [figure],
        settings={
            "file": str(file),
            "n": found.n,
            "d": found.d,
            "latents": len(found.kl),
            "beta": found.beta,
        },
        command=shlex.join(["vaesurface", *sys.argv[1:]]),
    )
    return [str(report.save(study, out)), str(out / "diagnose.png")]
