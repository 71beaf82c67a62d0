"""The verb about anyone's VAE: which kind of collapse does it show?"""

import math
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli.answers import command, run, say
from vaesurface.cli.options import Json, awake, verb
from vaesurface.cli.places import directory
from vaesurface.refusal import complaint

__all__ = ["diagnose"]

FEW = 1  # checkpoints that have to agree: there may be no more
SIGMA_STEP = 0.05  # a diagnosis counts posterior deviations in bins around its multiples
CAPTION = (
    "What each latent carries; posterior deviations; variance that is left in the residual, "
    "against beta gamma."
)


@verb("diagnose exported.npz --out results/diagnosis")
def diagnose(
    *,
    file: Annotated[
        Path,
        typer.Argument(
            help=".npz with x, mean, log_std, reconstruction, gamma, and more: docs/diagnose.md "
            "says which; or a folder of them, one a checkpoint"
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="directory for study and figure, and for `vaesurface report`"),
    ] = None,
    as_json: Json = False,
) -> int:
    """Say which kind of collapse a trained VAE shows, and why.

    It is one of the paper's five; also says what would change it.
    """
    if out is not None:
        directory(out)
    if file.is_dir():
        return _of_a_run(file, out, as_json)
    from vaesurface import diagnose

    with awake("diagnosing"):
        diagnosis = diagnose.load(file)
        result = _numbers(diagnosis)
    text = [diagnosis.label, f"what to do: {diagnosis.change}"]
    text += [f"{part}: {reason}" for part, reason in diagnosis.evidence.items()]
    if out is not None:
        result["files"] = _written(diagnosis, file, out)
        text += [f"wrote {name}" for name in result["files"]]
    then = run("cure", file) if out is None else run("report", out)
    say(result, text, as_json, then)
    return 0


def _of_a_run(folder: Path, out: Path | None, as_json: bool) -> int:
    """Checkpoints of one run, in the order of their steps, and the last one for all it is worth."""
    from vaesurface import report
    from vaesurface.diagnose import doors, export
    from vaesurface.monitor import course, page, words
    from vaesurface.monitor.reading import Reader
    from vaesurface.monitor.record import Record

    found, reader, looks, left_out = page.checkpoints(folder), Reader(), [], []
    for step, path in found:
        with awake(f"reading {path.name}"):
            try:
                exported = export.load(path)
            except ValueError as error:
                if path == found[-1][1]:
                    raise
                left_out.append(f"left out: {error}")
                continue
            _require_same(reader.last, exported, path)
            looks.append(reader.look(step, math.nan, exported))
    with awake("diagnosing the last one"):
        last = doors.diagnosed(exported)
    state = words.state(looks, course(looks, looks[-1].step, least=FEW))
    text = [f"step {look.step:,}: {look.label}" for look in looks]
    text += [*left_out, state, f"at the end: {last.label}", f"what to do: {last.change}"]
    text += [f"{part}: {reason}" for part, reason in last.evidence.items()]
    result = _numbers(last)
    result["state"], result["checkpoints"] = state, [look._asdict() for look in looks]
    if out is not None:
        end = {"label": last.label, "change": last.change, "evidence": last.evidence}
        record = Record(updates=looks, about={"steps": looks[-1].step}, end=end)
        name = folder.resolve().name
        study = page.study(record, name, out, command(), least=FEW)
        result["files"] = [str(report.save(study, out)), str(out / f"{name}.png")]
        text += [f"wrote {name}" for name in result["files"]]
    then = run("cure", found[-1][1]) if out is None else run("report", out)
    say(result, text, as_json, then)
    return 0


def _require_same(before: Any, exported: Any, path: Path) -> None:
    """Refuse a checkpoint of another model or of other data than the one before."""
    own, known = _size(exported), _size(exported if before is None else before)
    if own != known:
        remedy = "give a folder with one run"
        raise complaint(
            f"checkpoints of one model, with {known}", f"{path.name} with {own}", remedy
        )


def _size(exported: Any) -> str:
    return f"{exported.x.shape[1]} features and {exported.mean.shape[1]} latents"


def _numbers(diagnosis: Any) -> dict[str, Any]:
    """All that a diagnosis of arrays holds, by name."""
    from vaesurface.diagnose import Collapse

    fields = {k: _named(v) for k, v in diagnosis._asdict().items() if k != "search"}
    names = {
        "kind": diagnosis.kind.name,
        "kinds": [Collapse(int(kind)).name for kind in diagnosis.kinds],
    }
    words = {"evidence": diagnosis.evidence, "change": diagnosis.change}
    return {"label": diagnosis.label, **fields, **names, **words}


def _named(value: Any) -> Any:
    """Results as dictionaries, also within tuples."""
    if hasattr(value, "_asdict"):
        return {name: _named(field) for name, field in value._asdict().items()}
    if isinstance(value, tuple):
        return [_named(part) for part in value]
    return value


def _written(diagnosis: Any, file: Path, out: Path) -> list[str]:
    """Study and figure, for a page: their files."""
    from vaesurface import report
    from vaesurface.experiments.study import draw

    verdict = {
        "name": file.name,
        "label": diagnosis.label,
        "energy": diagnosis.energy,
        "evidence": diagnosis.evidence,
    }
    settings = {
        "file": str(file),
        "n": diagnosis.n,
        "d": diagnosis.d,
        "latents": len(diagnosis.kl),
        "beta": diagnosis.beta,
    }
    study = report.Study(
        name="diagnose",
        title="Which kind of posterior collapse?",
        said=[diagnosis.label, diagnosis.change],
        verdicts=[verdict],
        figures=[draw(out, "diagnose", CAPTION, partial(_axes, diagnosis, file.name))],
        settings=settings,
        command=command(),
    )
    return [str(report.save(study, out)), str(out / "diagnose.png")]


def _axes(diagnosis: Any, title: str) -> Any:
    """The first of the axes of a diagnosis's figure."""
    import numpy as np

    from vaesurface import plot
    from vaesurface.diagnose import Collapse
    from vaesurface.diagnose.terms import ACTIVE_NATS

    kinds = [Collapse(int(kind)) for kind in diagnosis.kinds]
    axes = plot.diagnosis(
        diagnosis.kl,
        np.repeat(SIGMA_STEP * np.arange(len(diagnosis.counts)), diagnosis.counts),
        diagnosis.residual,
        diagnosis.beta * diagnosis.gamma,
        carried=diagnosis.carried,
        kinds=["active" if kind == Collapse.NONE else kind.words for kind in kinds],
        active=ACTIVE_NATS,
        title=f"{title}: n = {diagnosis.n}, d = {diagnosis.d}, {len(kinds)} latents\n"
        f"γ = {diagnosis.gamma:.3g}, β = {diagnosis.beta:g}",
    )
    return axes[0]
