"""The command line: `vaesurface demo | sweep | analyze | census | certify | verify | slice | plot`.

Each verb's `--help` shows an example. With `--json` one JSON object goes to stdout and nothing else. Exit codes: 0 done, 1 the
answer is negative, 2 bad usage or bad input, with one line on stderr. Handlers import what they need, so help is instant.
"""

import json
import math
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Data = Annotated[
    str, typer.Option("--data", help="digits, digits-4x4, antipodal, or a path: .npy .npz .csv IDX CIFAR SVHN folder")
]
Limit = Annotated[int | None, typer.Option("--limit", help="use the first LIMIT rows")]
Latent = Annotated[int, typer.Option("--latent", help="latent dimensions")]
Alpha = Annotated[float, typer.Option("--alpha", help="decoder perturbation strength")]
Gamma = Annotated[float | None, typer.Option("--gamma", help="decoder variance; learned if not given")]
Beta = Annotated[float, typer.Option("--beta", help="weight of the KL part")]
Seed = Annotated[int | None, typer.Option("--seed", help="find from this random start; default: the collapsed point")]
Scale = Annotated[float, typer.Option("--scale", help="initialization scale of that start")]
Point = Annotated[Path | None, typer.Option("--point", help=".npz with weight, bias, log_gamma, mean, log_std")]
Refine = Annotated[bool, typer.Option("--refine", help="first refine --point to a stationary point nearby")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of text")]
Out = Annotated[Path, typer.Option("--out", help="directory for the results")]
Results = Annotated[Path, typer.Argument(help="directory that `vaesurface sweep` made")]
Chosen = Annotated[float | None, typer.Option("--alpha", help="one of the sweep's; default: the most telling")]
Moved = Annotated[str | None, typer.Option("--data", help="where the data are now; by default where they were")]
DEMO: dict[str, Any] = {  # about a minute on two cores
    "alpha": [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4],
    "scale": [0.03, 0.1, 0.3, 1.0, 3.0],
    "seeds": 6,
    "limit": 200,
    "steps": 1500,
}


def main() -> None:
    """Run a verb; every error is one line on stderr and exit code 2, Ctrl-C one line and 130."""
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = typer.main.get_command(app).main(standalone_mode=False)
        if code == 130:  # typer's word for Ctrl-C
            print("vaesurface: interrupted; finished chunks are kept, run again to go on", file=sys.stderr)
    except (ValueError, OSError, RuntimeError) as error:
        print("vaesurface:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except Exception as error:  # usage errors of typer's own
        if not hasattr(error, "format_message"):
            raise
        print("vaesurface:", " ".join(error.format_message().split()), "(see --help)", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


@app.command(epilog="Example: vaesurface demo --out results/demo")
def demo(
    data: Data = "digits-4x4",
    limit: Limit = None,
    latent: Latent = 2,
    out: Out = Path("results/demo"),
    as_json: Json = False,
) -> None:
    """Which starts collapse? A sweep over handwritten digits, with figures, a table and the answer in sentences."""
    note = ""
    if data == "digits-4x4" and limit is None:
        limit = DEMO["limit"]
        note = f"to save time: the first {limit} of 1797 digits, means over 2 × 2 pixels"
    swept, rows = _sweep(data, limit, latent, out / "sweep", **{k: DEMO[k] for k in ("alpha", "scale", "seeds", "steps")})
    _report(swept, rows, out, as_json, note)


@app.command(
    epilog="Example: vaesurface sweep --data digits --limit 300 --alpha 0,0.1,0.3 --scale 0.1,1 --seeds 4 --out results/s"
)
def sweep(
    data: Annotated[str | None, typer.Option("--data", help="name or path; default digits-4x4")] = None,
    limit: Limit = None,
    latent: Annotated[int | None, typer.Option("--latent", help="latent dimensions; default 2")] = None,
    alpha: Annotated[str | None, typer.Option("--alpha", help="decoder perturbation strengths, comma separated")] = None,
    scale: Annotated[str | None, typer.Option("--scale", help="initialization scales, comma separated")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="starts per cell")] = None,
    gamma: Gamma = None,
    beta: Annotated[float | None, typer.Option("--beta", help="weight of the KL part; default 1")] = None,
    optimizer: Annotated[str | None, typer.Option("--optimizer", help="adam, gradient-descent or lbfgs")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="optimizer steps")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="not for lbfgs")] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file with these settings; flags win")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="directory for the results; default results/sweep")] = None,
    as_json: Json = False,
) -> None:
    """Sweep alpha x initialization scale x seed; run again with the same --out to go on where it stopped or to add cells."""
    flags = {k: v for k, v in locals().items() if v is not None and k not in ("config", "as_json")}
    flags |= {k: _numbers(k, flags[k]) for k in ("alpha", "scale") if k in flags}
    settings: dict[str, Any] = {"data": "digits-4x4", "latent": 2, "out": "results/sweep", "limit": None}
    settings |= {k: DEMO[k] for k in ("alpha", "scale", "seeds")} | (_toml(config) if config else {}) | flags
    source, limit, latent = (settings.pop(k) for k in ("data", "limit", "latent"))
    out = Path(settings.pop("out"))
    swept, rows = _sweep(source, limit, latent, out, **settings)
    _report(swept, rows, None, as_json, store=str(out))


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
        int | None, typer.Option("--starts", help="take the best of so many random starts, from --seed (default 0) on")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="write the point, and its direction of descent, as .npz, for --point")
    ] = None,
    as_json: Json = False,
) -> int:
    """Say what a point is, and why: the collapsed one, one from a file, or the one that random starts lead to."""
    problem = _problem(data, limit, latent, alpha, gamma, beta)
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
            leaves |= {f"descent_{k}": v for k, v in judged.descent._asdict().items() if v is not None}
        np.savez(out, allow_pickle=False, **{k: np.asarray(v) for k, v in leaves.items()})
    text = [judged.label, f"energy {float(judged.loss):.10g}, {int(judged.active.sum())} of {latent} latents active"]
    _print(result, text + [f"{k}: {v}" for k, v in evidence.items()], as_json)
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
    """All stationary points of the affine model (alpha = 0) that theory lists, each checked: energy, gradient, index."""
    problem = _problem(data, limit, latent, 0.0, gamma, beta)
    from itertools import islice

    from vaesurface import stationary, theory

    X = problem.structure.data
    rows = []
    for expected in islice(theory.stationary_points(X, latent, gamma, beta), most):
        found = stationary.analyze(problem, expected.params)
        gap = float(found.loss) - expected.loss
        right = found.inertia.negative == expected.negative and found.inertia.flat == 0 and abs(gap) < 1e-9
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
        _write(out, "\n".join([head, *lines]) + "\n")
    _print({"points": rows, "wrong": wrong}, [head, *lines, f"{len(rows)} points, {wrong} disagree with theory"], as_json)
    return int(wrong > 0)


@app.command(epilog="Example: vaesurface certify --data antipodal --latent 1 --alpha 0.5 --out certificate.json")
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
    radius: Annotated[float | None, typer.Option("--radius", help="of the box in natural sizes; default: large")] = None,
    index: Annotated[int | None, typer.Option("--index", help="insist on so many negative eigenvalues")] = None,
    unbounded: Annotated[bool, typer.Option("--unbounded", help="prove that the energy has no lower bound")] = False,
    out: Annotated[Path, typer.Option("--out", help="the certificate, JSON")] = Path("results/certificate.json"),
    as_json: Json = False,
) -> int:
    """Prove what a point is, chosen as in analyze, or that the energy has no lower bound; anyone can verify the certificate."""
    problem = _problem(data, limit, latent, alpha, gamma, beta)
    from vaesurface import proof

    try:
        if unbounded:
            certificate = proof.certify_unbounded(problem)
        else:
            certificate = proof.certify(problem, _judged(problem, seed, scale, point, refine)[0].params, radius, index)
    except proof.Unproved as reason:
        _print({"proved": False, "reason": str(reason)}, [f"not proved: {reason}"], as_json)
        return 1
    proof.save(certificate, out)
    result = {"proved": True, "claim": certificate.claim, "statement": certificate.statement, "file": str(out)}
    _print(result, [certificate.statement, f"wrote {out}"], as_json)
    return 0


@app.command(epilog="Example: vaesurface verify certificate.json --data antipodal")
def verify(
    file: Annotated[Path, typer.Argument(help="a certificate that `vaesurface certify` wrote")],
    data: Data = "digits-4x4",
    limit: Limit = None,
    as_json: Json = False,
) -> int:
    """Prove a certificate's claim again from nothing but the certificate and the data."""
    X = _load(data, limit)
    from vaesurface import proof

    try:
        result = proof.verify(proof.load(file), X)
    except ValueError as error:
        result = proof.Verification(False, str(error))
    _print(result._asdict(), [result.reason if result.valid else f"refused: {result.reason}"], as_json)
    return int(not result.valid)


@app.command("slice", epilog="Example: vaesurface slice results/demo/sweep --alpha 0.1 --out figures")
def slice_(
    results: Results,
    alpha: Chosen = None,
    data: Moved = None,
    out: Out = Path("results/figures"),
    as_json: Json = False,
) -> None:
    """Energy along the line and over the plane through the collapsed point and the best points that a sweep found."""
    _figures(results, data, out, as_json, alpha, ("line", "plane"))


@app.command(epilog="Example: vaesurface plot results/demo/sweep --out figures")
def plot(
    results: Results,
    alpha: Chosen = None,
    data: Moved = None,
    out: Out = Path("results/figures"),
    as_json: Json = False,
) -> None:
    """Phase diagram of a sweep, and Hessian spectra of the collapsed and the best point at one alpha."""
    _figures(results, data, out, as_json, alpha, ("phase", "spectrum"))


def _float64() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


def _load(source: str, limit: int | None) -> Any:
    from vaesurface import data

    return data.load(source, limit=limit)


def _problem(source: str, limit: int | None, latent: int, alpha: float, gamma: float | None, beta: float) -> Any:
    _float64()
    from vaesurface import vae

    return vae.threshold_vae(_load(source, limit), latent, alpha, gamma, beta)


def _judged(
    problem: Any, seed: int | None, scale: float, point: Path | None, refine: bool, starts: int | None = None
) -> tuple[Any, Any]:
    """The point that the options choose, as a `StationaryPoint`, and what its rivals say: a `tally.Best`, or None."""
    import jax
    import jax.numpy as jnp

    from vaesurface import stationary, tally

    if (seed is not None or starts is not None) and point is not None:
        raise ValueError("expected random starts or --point, got both; drop one")
    if starts is not None and starts < 1:
        raise ValueError(f"expected at least one start, got {starts}; choose --starts 1 or more")
    best = None
    if seed is not None or starts is not None:
        find = jax.jit(lambda s: jax.lax.map(lambda i: stationary.find(problem, jax.random.key(i), scale), s))
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
    said = f"slope in log gamma {measured:.8g} measured at gamma = {gammas[-1]:.2g}, {predicted:g} predicted"
    return {"slope_measured": measured, "slope_predicted": predicted, "gamma": float(gammas[-1]), **fields}, said


def _sweep(source: str, limit: int | None, latent: int, out: Path, optimizer: str = "adam", **settings: Any) -> Any:
    _float64()
    from tqdm import tqdm

    from vaesurface import optimize
    from vaesurface.experiments import starts

    makers: dict[str, Any] = {"adam": optimize.adam, "gradient-descent": optimize.gradient_descent, "lbfgs": optimize.lbfgs}
    if optimizer not in makers:
        raise ValueError(f"expected an optimizer out of {', '.join(makers)}, got {optimizer}; choose one of them")
    own = {k: settings.pop(k) for k in ("steps", "learning_rate") if k in settings}
    if optimizer == "lbfgs" and "learning_rate" in own:
        raise ValueError("expected no learning rate for lbfgs, got one; its line search sets it, so drop the option")
    maker = partial(makers[optimizer], **own)
    X = _load(source, limit)
    swept = starts.compute(X, source, latent, out, make_optimizer=maker, progress=tqdm, **settings)
    return swept, starts.found(swept)


def _report(swept: Any, rows: Any, out: Path | None, as_json: bool, note: str = "", **more: Any) -> None:
    """Print what a sweep found; with `out`, leave table, labelled results, figures and the answer there."""
    from vaesurface import store
    from vaesurface.experiments import starts

    said, written = starts.answer(swept, rows), []
    if out is not None:
        written = starts.draw(swept, rows, out, note=note)
        store.save(swept.ds, out / "points.nc")
        _write(out / "table.txt", starts.table(rows) + "\n")
        _write(out / "answer.txt", "\n".join(said) + "\n")
        written += [out / name for name in ("points.nc", "table.txt", "answer.txt")]
    result = more | {"answer": said, "points": [r._asdict() for r in rows], "files": [str(p) for p in written]}
    _print(result, [starts.table(rows, most=4), "", *said, *(f"wrote {p}" for p in written)], as_json)


def _figures(results: Path, source: str | None, out: Path, as_json: bool, alpha: float | None, kinds: Any) -> None:
    _float64()
    from vaesurface.experiments import starts

    swept = starts.reopen(results, source)
    out.mkdir(parents=True, exist_ok=True)
    written = [str(p) for p in starts.draw(swept, starts.found(swept), out, alpha, kinds)]
    _print({"files": written}, [f"wrote {p}" for p in written], as_json)


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(f"expected numbers with commas for --{name}, got {text!r}; write 0,0.1,0.5") from error


def _toml(path: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected a TOML file, got {path}: {error}; mend it") from error
    kinds: dict[str, Any] = dict.fromkeys(("data", "optimizer", "out"), str) | dict.fromkeys(("alpha", "scale"), list)
    kinds |= dict.fromkeys(("limit", "latent", "seeds", "steps"), int)
    kinds |= dict.fromkeys(("gamma", "beta", "learning_rate"), (int, float))
    for key, value in settings.items():
        if key not in kinds:
            raise ValueError(f"expected settings out of {', '.join(kinds)}, got {key} in {path}; rename or drop it")
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            raise ValueError(f"expected another type for {key} in {path}, got {value!r}; see `vaesurface sweep --help`")
    return settings


def _point(path: Path, like: Any) -> Any:
    """Parameters from an .npz, checked against the problem's shapes."""
    import zipfile

    import numpy as np

    wanted = {k: v for k, v in like._asdict().items() if v is not None}
    try:
        with np.load(path, allow_pickle=False) as file:
            given = {k: np.asarray(file[k], np.float64) for k in wanted}
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"expected an .npz with {', '.join(wanted)}, got {path}: {error}; see --out") from error
    for key, value in wanted.items():
        if given[key].shape != value.shape or not np.isfinite(given[key]).all():
            shape = given[key].shape
            raise ValueError(f"expected finite {key} of shape {value.shape}, got {shape} in {path}; check data and latent")
    return like._replace(**given)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _print(result: dict[str, Any], text: list[str], as_json: bool) -> None:
    """JSON has no infinities and no NaN: they become null."""

    def plain(x: Any) -> Any:
        if isinstance(x, dict):
            return {k: plain(v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [plain(v) for v in x]
        return None if isinstance(x, float) and not math.isfinite(x) else x

    print(json.dumps(plain(result), allow_nan=False) if as_json else "\n".join(text))
