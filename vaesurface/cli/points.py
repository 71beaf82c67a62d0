"""Verbs about one point: what it is, and the proof."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli.answers import paragraphs, run, say
from vaesurface.cli.options import (
    DATA,
    Family,
    Json,
    Limit,
    Model,
    Rows,
    Start,
    Surface,
    Terms,
    awake,
    load,
    make_problem,
    options_of,
    verb,
)
from vaesurface.cli.places import file_in
from vaesurface.cli.values import checked, count, existing, positive, text
from vaesurface.refusal import complaint

__all__ = ["analyze", "census", "certify", "verify"]

ENERGY_ERROR = 1e-9  # up to which an energy agrees with theory: rounding of sums over data
COLUMNS = (
    "retained",
    "energy",
    "index",
    "index_found",
    "flat_found",
    "grad_norm",
    "label",
    "agrees",
)


@verb("analyze --data antipodal --latent 1 --alpha 0.5")
def analyze(
    *,
    surface: Surface,
    start: Start,
    starts: Annotated[
        int | None,
        typer.Option(
            "--starts",
            help="take the best of so many random starts, from --seed (default 0) on",
            callback=checked(count),
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="directory or .npz for the point and its direction of descent, for --point",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Say what a point of the surface is, and why.

    The point is the collapsed one, one from a file, or the best that random starts lead to.
    """
    _require_one_way(start, drawn=starts is not None)
    out = None if out is None else file_in(out, "point.npz")
    problem = make_problem(surface)
    from vaesurface.experiments.ways import has_rays
    from vaesurface.stationary import Kind

    with awake("analyzing"):
        point, best = _judged(problem, start, starts)
        result = _numbers(point)
    result["starts"] = None if best is None else best._asdict()
    result["ray"] = None
    evidence = result["evidence"]
    if best is not None:
        evidence["starts"] = best.words
    if has_rays(problem) and point.theory.minimum == -math.inf:
        result["ray"], evidence["ray"] = _ray(problem)
    if out is not None:
        _write_point(point, out)
    lines = paragraphs(
        [point.label],
        _table(surface.alpha, point).splitlines(),
        [f"{part}: {reason}" for part, reason in evidence.items()],
        [] if out is None else [f"wrote {out}"],
    )
    say(result, lines, as_json, _after(surface, start, problem, point, best, out))
    return int(point.kind == Kind.NOT_STATIONARY)


def _table(alpha: float, point: Any) -> str:
    """A row for the point; index, flat, positive: numbers of eigenvalues."""
    from vaesurface.experiments import tables

    head = ["alpha", "energy", "index", "flat", "positive", "gradient", "active latents"]
    counts = [int(count) for count in point.inertia]
    active = f"{int(point.active.sum())} of {len(point.active)}"
    row = [alpha, f"{float(point.loss):.8g}", *counts, float(point.grad_norm), active]
    return tables.aligned(head, [row])


def _after(
    surface: Surface, start: Start, problem: Any, point: Any, best: Any, out: Path | None
) -> str:
    """What to do next: refine what is not stationary, prove what can be proved."""
    from vaesurface import proof
    from vaesurface.stationary import Kind

    chosen: dict[str, Any] = {"seed": start.seed, "point": start.point}
    if best is not None and best.best is not None:
        chosen["seed"] = (start.seed or 0) + best.best
    if chosen["seed"] is not None and start.scale != Start.scale:
        chosen["scale"] = start.scale
    told = options_of(surface, **chosen)
    refined = ["--refine"] * start.refine
    if point.kind == Kind.NOT_STATIONARY:
        if start.point is not None:
            return run("analyze", *told, "--refine")
        return run("analyze", *options_of(surface, seed=(start.seed or 0) + 1))
    try:
        proof.require_provable(problem)
    except ValueError:
        return run("path", *options_of(surface))
    return run("certify", *told, *refined)


@verb("census --data digits-4x4 --limit 200 --most 20")
def census(
    *,
    model: Model,
    terms: Terms,
    most: Annotated[
        int,
        typer.Option("--most", help="stop after so many points", callback=checked(count)),
    ] = 100,
    out: Annotated[
        Path | None, typer.Option("--out", help="directory or .csv for the table")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check every stationary point that theory lists at alpha = 0.

    There the decoder is affine. Of each: energy, gradient, number of negative eigenvalues.
    """
    out = None if out is None else file_in(out, "census.csv")
    surface = Surface(model=model, alpha=0.0, terms=terms, family=Family())
    problem = make_problem(surface)
    from itertools import islice

    from vaesurface import files, theory

    listed = theory.stationary_points(problem.X, model.latent, terms.gamma, terms.beta)
    with awake("checking"):
        rows = [_checked(problem, expected) for expected in islice(listed, most)]
    wrong = sum(not row["agrees"] for row in rows)
    if out is not None:
        table = [",".join(COLUMNS)]
        table += [",".join(str(row[name]).replace(",", " ") for name in COLUMNS) for row in rows]
        files.write(out, "\n".join(table) + "\n")
    from vaesurface.experiments import tables

    head = [name.replace("_", " ") for name in COLUMNS]
    cells = [[_cell(row[name]) for name in COLUMNS] for row in rows]
    lines = paragraphs(
        [f"{len(rows)} points, {wrong} disagree with theory"],
        tables.aligned(head, cells).splitlines(),
        [] if out is None else [f"wrote {out}"],
    )
    then = run("path", *options_of(replace(surface, alpha=Surface.alpha)))
    say({"points": rows, "wrong": wrong}, lines, as_json, then)
    return int(wrong > 0)


def _cell(value: Any) -> Any:
    """Of the table: lists with spaces."""
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else value


@verb("certify --data antipodal --latent 1 --alpha 0.5 --out certificate.json")
def certify(
    *,
    surface: Surface,
    start: Start,
    radius: Annotated[
        float | None,
        typer.Option(
            "--radius",
            help="of the box in natural sizes; default: large",
            callback=checked(positive),
        ),
    ] = None,
    index: Annotated[
        int | None,
        typer.Option(
            "--index",
            help="insist on so many negative eigenvalues",
            callback=checked(count, least=0, most=10**9),
        ),
    ] = None,
    unbounded: Annotated[
        bool, typer.Option("--unbounded", help="prove that the energy has no lower bound")
    ] = False,
    out: Annotated[
        Path, typer.Option("--out", help="directory or .json for the certificate")
    ] = Path("results/certificate.json"),
    as_json: Json = False,
) -> int:
    """Prove what a point is, or that the energy has no lower bound.

    The point is chosen as in analyze. Anyone can verify the certificate.
    """
    _require_one_way(start)
    chosen = {"--seed": start.seed, "--point": start.point, "--radius": radius, "--index": index}
    given = [option for option, value in chosen.items() if value is not None]
    if unbounded and (given or surface.terms.gamma is not None):
        raise ValueError(
            f"expected --unbounded to be about the energy with gamma learned, got "
            f"{', '.join(given) or '--gamma'} too; drop one"
        )
    out = file_in(out, "certificate.json")
    problem = make_problem(surface)
    from vaesurface import proof

    proof.require_provable(problem)

    try:
        with awake("proving"):
            if unbounded:
                certificate = proof.certify_unbounded(problem)
            else:
                point, _ = _judged(problem, start)
                certificate = proof.certify(problem, point.params, radius, index)
    except proof.Unproved as reason:
        then = run("analyze", *options_of(surface, seed=start.seed, point=start.point))
        say({"proved": False, "reason": str(reason)}, [f"not proved: {reason}"], as_json, then)
        return 1
    rows = surface.model
    certificate = proof.sourced(certificate, rows.data, rows.limit)
    proof.save(certificate, out)
    result = {
        "proved": True,
        "claim": certificate.claim,
        "statement": certificate.statement,
        "file": str(out),
    }
    say(result, [certificate.statement, f"wrote {out}"], as_json, run("verify", out))
    return 0


@verb("verify certificate.json")
def verify(
    *,
    file: Annotated[
        Path,
        typer.Argument(
            help="a certificate that `vaesurface certify` wrote", callback=checked(existing)
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="where the data are; default: where the certificate says",
            callback=checked(text),
            autocompletion=DATA,
        ),
    ] = None,
    limit: Limit = None,
    as_json: Json = False,
) -> int:
    """Prove a certificate's claim again, from the file and the data.

    Nothing else is needed, and nothing in the certificate is taken on trust.
    """
    from vaesurface import proof

    try:
        certificate = proof.load(file)
    except ValueError as error:
        return _verified(proof.Verification(False, str(error)), file, "", as_json)
    rows = _rows(certificate, file, data, limit)
    X = load(rows)
    with awake("verifying"):
        result = proof.verify(certificate, X)
    return _verified(result, file, f"{rows.data}, n = {len(X)}", as_json)


def _rows(certificate: Any, file: Path, source: str | None, limit: int | None) -> Rows:
    """The data that a certificate names, unless it is said where they are. It may come from anyone:
    what it names is read where it ships or lies below the directory that one is in.
    """
    from vaesurface import data

    if source is None and certificate.source is None:
        remedy = "pass --data as certify had it, and --limit if it had one"
        raise complaint("a certificate that names its data", f"{file}, which does not", remedy)
    if source is None:
        source = data.within(certificate.source, Path.cwd())
    if limit is None and certificate.limit is not None:
        limit = count("the certificate's limit", certificate.limit, least=2, most=10**9)
    return Rows(data=source, limit=limit)


def _verified(result: Any, file: Path, source: str, as_json: bool) -> int:
    """Print whether the claim is proved; source: of the data."""
    line = f"{'verified' if result.valid else 'refused'}: {result.reason}"
    then = f"hand on {file}; with the data ({source}) anyone can verify it"
    if not result.valid:
        then = f"{run('verify', file, '--data', 'DATA')} with its own data; these were {source}"
    if not source:
        then = run("certify", "--help")
    say(result._asdict(), [line], as_json, then)
    return int(not result.valid)


def _require_one_way(start: Start, drawn: bool = False) -> None:
    """Refuse options of which one would be passed over; drawn: from random starts anyway."""
    if start.point is not None and (drawn or start.seed is not None):
        raise ValueError("expected random starts or --point, got both; drop one")
    if start.refine and start.point is None:
        raise ValueError("expected --refine with the --point to refine, got none; drop it")


def _judged(problem: Any, start: Start, starts: int | None = None) -> tuple[Any, Any]:
    """The point that the options choose, as a `StationaryPoint`, and what its rivals say: a
    `tally.Best`, or None.
    """
    import jax

    from vaesurface import stationary
    from vaesurface.stationary import tally

    drawn = start.seed is not None or starts is not None
    best = None
    if drawn:
        ends = _ends(problem, start, starts or 1)
        reached = ends.kind != stationary.Kind.NOT_STATIONARY
        best = tally.best_of(problem, ends.loss, ends.params, reached) if starts else None
        lowest = 0 if best is None or best.best is None else best.best
        params = jax.tree.map(lambda x: x[lowest], ends.params)
    else:
        params = problem.collapsed()
        params = params if start.point is None else _read_point(start.point, params)
        params = stationary.refine(problem, params).params if start.refine else params
    return stationary.analyze(problem, params), best


def _ends(problem: Any, start: Start, count: int) -> Any:
    """Where random starts lead, leading axis: starts."""
    import jax
    import jax.numpy as jnp

    from vaesurface import stationary

    def find(seed: Any) -> Any:
        return stationary.find(problem, jax.random.key(seed), start.scale)

    first = start.seed or 0
    if count == 1:  # by programs that are compiled quickly
        return jax.tree.map(lambda x: jnp.asarray(x)[None], find(first))
    return jax.jit(lambda seeds: jax.lax.map(find, seeds))(first + jnp.arange(count))


def _numbers(point: Any) -> dict[str, Any]:
    """What is known about a point, plain."""
    import numpy as np

    from vaesurface.stationary import Kind

    return {
        "label": point.label,
        "kind": Kind(int(point.kind)).name,
        "loss": float(point.loss),
        "grad_norm": float(point.grad_norm),
        "inertia": _counts(point.inertia),
        "inertia_at_ten_times_the_band": _counts(point.wide),
        "active": np.asarray(point.active).tolist(),
        "evidence": dict(point.evidence),
    }


def _counts(inertia: Any) -> dict[str, int]:
    """Eigenvalues by sign."""
    return {sign: int(count) for sign, count in inertia._asdict().items()}


def _checked(problem: Any, expected: Any) -> dict[str, Any]:
    """A row of the census: what theory expects at a point, what is measured there, and whether
    they agree.
    """
    from vaesurface import stationary

    point = stationary.analyze(problem, expected.params)
    agrees = (
        point.kind != stationary.Kind.NOT_STATIONARY
        and point.inertia.negative == expected.negative
        and point.inertia.flat == 0
        and abs(float(point.loss) - expected.loss) < ENERGY_ERROR
    )
    return {
        "retained": list(expected.retained),
        "energy": expected.loss,
        "index": expected.negative,
        "index_found": int(point.inertia.negative),
        "flat_found": int(point.inertia.flat),
        "grad_norm": float(point.grad_norm),
        "label": point.label,
        "agrees": bool(agrees),
    }


def _ray(problem: Any) -> tuple[dict[str, Any], str]:
    """The ray to minus infinity, and how steeply the energy falls along it, measured."""
    import numpy as np

    from vaesurface import theory

    ray = theory.unbounded_ray(problem.X, problem.latent, problem.alpha, problem.beta)
    gammas = np.asarray(problem.X).var() * 10.0 ** -np.arange(4.0, 10.0)
    measured, predicted = float(theory.ray_slope(problem.loss, ray, gammas)[-1]), float(ray.slope)
    sentence = (
        f"slope in log gamma {measured:.8g} measured at gamma = {gammas[-1]:.2g}, "
        f"{predicted:g} predicted"
    )
    numbers = {
        "slope_measured": measured,
        "slope_predicted": predicted,
        "gamma": float(gammas[-1]),
    }
    places = {name: np.asarray(getattr(ray, name)).tolist() for name in ("weight", "bias", "mean")}
    return numbers | places, sentence


def _write_point(point: Any, out: Path) -> None:
    """A point's parameters and, where it has one, its direction of descent, as .npz."""
    import numpy as np

    from vaesurface import files

    arrays = _fields(point.params)
    descent = _fields(point.descent)
    if any(np.any(array) for array in descent.values()):
        arrays |= {f"descent_{name}": array for name, array in descent.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(out) as new:
        np.savez(new, allow_pickle=False, **{name: np.asarray(a) for name, a in arrays.items()})


def _read_point(path: Path, like: Any) -> Any:
    """Parameters from an .npz, checked against the problem's shapes."""
    import numpy as np

    from vaesurface import data
    from vaesurface.refusal import reading

    expected = _fields(like)
    with reading(f"an .npz with {', '.join(expected)}", "see --out of analyze", path):
        content = data.named(path)
        arrays = {name: _reals(name, content[name]) for name in expected}
    for name, value in expected.items():
        shape = arrays[name].shape
        if shape != value.shape or not np.isfinite(arrays[name]).all():
            raise ValueError(
                f"expected finite {name} of shape {value.shape}, got {shape} in {path}; check "
                f"data and latent"
            )
    return like._replace(**arrays)


def _reals(name: str, content: Any) -> Any:
    """An array of a file as numbers."""
    from vaesurface import data

    if isinstance(content, ValueError):
        raise content
    return data.reals(content, name)


def _fields(params: Any) -> dict[str, Any]:
    """Parameters by name, without those that the problem has not."""
    return {name: value for name, value in params._asdict().items() if value is not None}
