"""Verbs about one point: what it is, and the proof."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli.options import (
    Alpha,
    Beta,
    Data,
    Gamma,
    Json,
    Latent,
    Limit,
    Point,
    Refine,
    Scale,
    Seed,
    app,
    load,
    make_problem,
    say,
    write,
)


@app.command(epilog="Example: vaesurface analyze --data antipodal --latent 1 --alpha 0.5")
def analyze(
    data: Data = "digits-4x4",
    limit: Limit = None,
    latent: Latent = 2,
    alpha: Alpha = 0.1,
    gamma: Gamma = None,
    beta: Beta = 1.0,
    seed: Seed = None,
    scale: Scale = 0.1,
    point: Point = None,
    refine: Refine = False,
    starts: Annotated[
        int | None,
        typer.Option(
            "--starts", help="take the best of so many random starts, from --seed (default 0) on"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="write the point, and its direction of descent, as .npz, for --point"
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Say what a point is, and why: the collapsed one, one from a file, or the one that random
    starts lead to.
    """
    problem = make_problem(data, limit, latent, alpha, gamma, beta)
    import numpy as np

    from vaesurface import stationary

    if out is not None and out.suffix != ".npz":
        raise ValueError(f"expected --out to end in .npz, got {out}; rename it")
    judged, best = _judged(problem, seed, scale, point, refine, starts)
    evidence = judged.evidence | ({} if best is None else {"starts": best.words})
    result = {
        "label": judged.label,
        "kind": stationary.Kind(int(judged.kind)).name,
        "loss": float(judged.loss),
        "grad_norm": float(judged.grad_norm),
        "inertia": {k: int(v) for k, v in judged.inertia._asdict().items()},
        "inertia_at_ten_times_the_band": {k: int(v) for k, v in judged.wide._asdict().items()},
        "active": np.asarray(judged.active).tolist(),
        "evidence": evidence,
        "starts": None if best is None else best._asdict(),
        "ray": None,
    }
    if judged.theory.minimum == -math.inf:
        result["ray"], evidence["ray"] = _ray(problem)
    if out is not None:
        leaves = {k: v for k, v in judged.params._asdict().items() if v is not None}
        if any(np.any(v) for v in judged.descent if v is not None):
            leaves |= {
                f"descent_{k}": v for k, v in judged.descent._asdict().items() if v is not None
            }
        np.savez(out, allow_pickle=False, **{k: np.asarray(v) for k, v in leaves.items()})
    text = [
        judged.label,
        f"energy {float(judged.loss):.10g}, {int(judged.active.sum())} of {latent} latents active",
    ]
    say(result, text + [f"{k}: {v}" for k, v in evidence.items()], as_json)
    return int(judged.kind == stationary.Kind.NOT_STATIONARY)


@app.command(epilog="Example: vaesurface census --data digits-4x4 --limit 200 --most 20")
def census(
    data: Data = "digits-4x4",
    limit: Limit = None,
    latent: Latent = 2,
    gamma: Gamma = None,
    beta: Beta = 1.0,
    most: Annotated[int, typer.Option("--most", help="stop after so many points")] = 100,
    out: Annotated[Path | None, typer.Option("--out", help="write the table as .csv")] = None,
    as_json: Json = False,
) -> int:
    """All stationary points of the affine model (alpha = 0) that theory lists, each checked:
    energy, gradient, index.
    """
    problem = make_problem(data, limit, latent, 0.0, gamma, beta)
    from itertools import islice

    from vaesurface import stationary, theory

    X = problem.structure.data
    rows = []
    for expected in islice(theory.stationary_points(X, latent, gamma, beta), most):
        found = stationary.analyze(problem, expected.params)
        gap = float(found.loss) - expected.loss
        right = (
            found.inertia.negative == expected.negative
            and found.inertia.flat == 0
            and abs(gap) < 1e-9
        )
        rows.append(
            {
                "retained": list(expected.retained),
                "energy": expected.loss,
                "index": expected.negative,
                "index_found": int(found.inertia.negative),
                "flat_found": int(found.inertia.flat),
                "grad_norm": float(found.grad_norm),
                "label": found.label,
                "agrees": bool(right & (found.kind != stationary.Kind.NOT_STATIONARY)),
            }
        )
    wrong = sum(not row["agrees"] for row in rows)
    head = "retained,energy,index,index_found,flat_found,grad_norm,label,agrees"
    lines = [",".join(str(v).replace(",", " ") for v in row.values()) for row in rows]
    if out is not None:
        write(out, "\n".join([head, *lines]) + "\n")
    say(
        {"points": rows, "wrong": wrong},
        [head, *lines, f"{len(rows)} points, {wrong} disagree with theory"],
        as_json,
    )
    return int(wrong > 0)


@app.command(
    epilog="Example: vaesurface certify --data antipodal --latent 1 --alpha 0.5 --out "
    "certificate.json"
)
def certify(
    data: Data = "digits-4x4",
    limit: Limit = None,
    latent: Latent = 2,
    alpha: Alpha = 0.1,
    gamma: Gamma = None,
    beta: Beta = 1.0,
    seed: Seed = None,
    scale: Scale = 0.1,
    point: Point = None,
    refine: Refine = False,
    radius: Annotated[
        float | None, typer.Option("--radius", help="of the box in natural sizes; default: large")
    ] = None,
    index: Annotated[
        int | None, typer.Option("--index", help="insist on so many negative eigenvalues")
    ] = None,
    unbounded: Annotated[
        bool, typer.Option("--unbounded", help="prove that the energy has no lower bound")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="the certificate, JSON")] = Path(
        "results/certificate.json"
    ),
    as_json: Json = False,
) -> int:
    """Prove what a point is, chosen as in analyze, or that the energy has no lower bound; anyone
    can verify the certificate.
    """
    problem = make_problem(data, limit, latent, alpha, gamma, beta)
    from vaesurface import proof

    try:
        if unbounded:
            certificate = proof.certify_unbounded(problem)
        else:
            certificate = proof.certify(
                problem, _judged(problem, seed, scale, point, refine)[0].params, radius, index
            )
    except proof.Unproved as reason:
        say({"proved": False, "reason": str(reason)}, [f"not proved: {reason}"], as_json)
        return 1
    proof.save(certificate, out)
    result = {
        "proved": True,
        "claim": certificate.claim,
        "statement": certificate.statement,
        "file": str(out),
    }
    say(result, [certificate.statement, f"wrote {out}"], as_json)
    return 0


@app.command(epilog="Example: vaesurface verify certificate.json --data antipodal")
def verify(
    file: Annotated[Path, typer.Argument(help="a certificate that `vaesurface certify` wrote")],
    data: Data = "digits-4x4",
    limit: Limit = None,
    as_json: Json = False,
) -> int:
    """Prove a certificate's claim again from nothing but the certificate and the data."""
    X = load(data, limit)
    from vaesurface import proof

    try:
        result = proof.verify(proof.load(file), X)
    except ValueError as error:
        result = proof.Verification(False, str(error))
    say(result._asdict(), [result.reason if result.valid else f"refused: {result.reason}"], as_json)
    return int(not result.valid)


def _judged(
    problem: Any,
    seed: int | None,
    scale: float,
    point: Path | None,
    refine: bool,
    starts: int | None = None,
) -> tuple[Any, Any]:
    """The point that the options choose, as a `StationaryPoint`, and what its rivals say: a
    `tally.Best`, or None.
    """
    import jax
    import jax.numpy as jnp

    from vaesurface import stationary
    from vaesurface.stationary import tally

    if (seed is not None or starts is not None) and point is not None:
        raise ValueError("expected random starts or --point, got both; drop one")
    if starts is not None and starts < 1:
        raise ValueError(f"expected at least one start, got {starts}; choose --starts 1 or more")
    best = None
    if seed is not None or starts is not None:
        find = jax.jit(
            lambda s: jax.lax.map(lambda i: stationary.find(problem, jax.random.key(i), scale), s)
        )
        ends = find((seed or 0) + jnp.arange(starts or 1))
        reached = ends.kind != stationary.Kind.NOT_STATIONARY
        best = tally.best_of(problem, ends.loss, ends.params, reached) if starts else None
        at = 0 if best is None or best.best is None else best.best
        start = jax.tree.map(lambda x: x[at], ends.params)
    else:
        start = problem.collapsed() if point is None else _point(point, problem.collapsed())
        start = stationary.refine(problem, start).params if refine else start
    return stationary.analyze(problem, start), best


def _ray(problem: Any) -> tuple[dict[str, Any], str]:
    """The ray to minus infinity, and how steeply the energy falls along it, measured."""
    import numpy as np

    from vaesurface import theory

    make, given = problem.recipe()
    ray = theory.unbounded_ray(given["X"], make.latent, given["alpha"], given["beta"])
    gammas = np.asarray(given["X"]).var() * 10.0 ** -np.arange(4.0, 10.0)
    measured, predicted = float(theory.ray_slope(problem.loss, ray, gammas)[-1]), float(ray.slope)
    fields = {k: np.asarray(getattr(ray, k)).tolist() for k in ("weight", "bias", "mean")}
    said = (
        f"slope in log gamma {measured:.8g} measured at gamma = {gammas[-1]:.2g}, "
        f"{predicted:g} predicted"
    )
    return {
        "slope_measured": measured,
        "slope_predicted": predicted,
        "gamma": float(gammas[-1]),
        **fields,
    }, said


def _point(path: Path, like: Any) -> Any:
    """Parameters from an .npz, checked against the problem's shapes."""
    import zipfile

    import numpy as np

    wanted = {k: v for k, v in like._asdict().items() if v is not None}
    try:
        with np.load(path, allow_pickle=False) as file:
            given = {k: np.asarray(file[k], np.float64) for k in wanted}
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(
            f"expected an .npz with {', '.join(wanted)}, got {path}: {error}; see --out"
        ) from error
    for key, value in wanted.items():
        if given[key].shape != value.shape or not np.isfinite(given[key]).all():
            shape = given[key].shape
            raise ValueError(
                f"expected finite {key} of shape {value.shape}, got {shape} in {path}; check "
                f"data and latent"
            )
    return like._replace(**given)
