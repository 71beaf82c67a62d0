"""Do deeper networks reconstruct worse, and their VAEs always worse than their autoencoders? Figure
1 of the paper.

Trained pairs, an autoencoder and a VAE of the same networks from the same start, over depth: fully
connected (`fig1_left`), convolutional (`fig1_middle`) and, autoencoders only as in the paper,
residual (`fig1_right`). `fig2` and `warm_start` train by the same `Plan`. Every run is kept in
`out/runs`, so an interrupted study goes on, and more seeds add to it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import mannwhitneyu
from tqdm import tqdm

from vaesurface import data, plot, report, store, sweep
from vaesurface.experiments.study import draw
from vaesurface.report import Study
from vaesurface.vae import architecture, train
from vaesurface.vae.architecture import Architecture
from vaesurface.vae.train import Trained

LEVEL = 0.05 * (
    1 + 1e-9
)  # of the one-sided test that errors differ: three seeds against three reach just 1/20
RECORD = 50  # points of a run's history
CLEAR = 3.0  # standard errors of a sampled error beyond which a difference is none of sampling


class Plan(NamedTuple):
    """What is trained, and for how long.

    networks(X, latent, depth): an architecture; depths; sources: data sets, of which the first
    `limit` rows are used (None: all); latent; steps, batch and learning_rate of Adam; scale: of the
    last layers at the start: from He's full one the first reconstructions are so far off that a
    learned gamma grows, and collapse follows at any depth.
    """

    networks: Callable[[np.ndarray, int, Any], Architecture]
    depths: Sequence[Any]
    sources: Sequence[str]
    limit: int | None
    latent: int
    steps: int
    batch: int
    learning_rate: float = 1e-3
    scale: float = 0.1

    def settings(self, seeds: int) -> dict[str, Any]:
        """As a study lists them."""
        adam = f"Adam, {self.steps} steps, batch {self.batch}, rate {self.learning_rate:g}"
        rows = "all" if self.limit is None else f"the first {self.limit}"
        common = {
            "data": ", ".join(names(self)),
            "rows": rows,
            "latents": self.latent,
            "training": adam,
            "seeds": seeds,
        }
        return common | {"start": f"He's, last layers times {self.scale:g}"}


def fully_connected(X: np.ndarray, latent: int, depth: int, width: int) -> Architecture:
    """depth: hidden layers."""
    return architecture.mlp(X.shape[1], latent, depth=depth, width=width)


def convolutional(
    X: np.ndarray, latent: int, depth: int, scales: int, channels: int, growth: int
) -> Architecture:
    """depth: layers per scale."""
    return architecture.conv(
        data.shape(X), latent, convs=depth, scales=scales, channels=channels, growth=growth
    )


def residual(
    X: np.ndarray, latent: int, depth: tuple[int, int], scales: int, channels: int, growth: int
) -> Architecture:
    """depth: blocks per scale, layers per block."""
    blocks, convs = depth
    made = partial(
        architecture.resnet,
        blocks=blocks,
        convs=convs,
        scales=scales,
        channels=channels,
        growth=growth,
    )
    return made(data.shape(X), latent)


LEFT = Plan(partial(fully_connected, width=64), (1, 2, 4, 8, 16), ("digits",), None, 8, 1500, 64)
LEFT_FULL = Plan(
    partial(fully_connected, width=512),
    (1, 2, 4, 6, 8, 10),
    ("fashion-mnist",),
    None,
    32,
    100_000,
    128,
)
SMALL = partial(convolutional, scales=2, channels=16, growth=1)
LARGE = partial(convolutional, scales=3, channels=32, growth=2)
MIDDLE = Plan(SMALL, (1, 2, 3, 4, 5, 10), ("digits",), 500, 8, 1200, 32)
MIDDLE_FULL = Plan(LARGE, (1, 2, 3, 4, 5), ("cifar-10",), None, 64, 100_000, 128)
RIGHT = MIDDLE._replace(
    networks=partial(residual, scales=2, channels=8, growth=1),
    depths=tuple(product((1, 2), (2, 5))),
    sources=("digits", "patches"),
    limit=300,
    steps=800,
)
RIGHT_FULL = MIDDLE_FULL._replace(
    networks=partial(residual, scales=3, channels=32, growth=2),
    depths=tuple(product((1, 2, 4), (2, 3, 4, 5))),
    sources=("svhn", "cifar-10"),
)


def fig1_left(plan: Plan, seeds: int, out: Path, command: str) -> Study:
    """Fully connected networks over their number of hidden layers."""
    about = {"xlabel": "hidden layers in encoder and in decoder", "unit": "hidden layers"}
    return _pairs(
        plan,
        seeds,
        out,
        command,
        "fig1-left",
        "Figure 1, left: fully connected networks over depth",
        **about,
    )


def fig1_middle(plan: Plan, seeds: int, out: Path, command: str) -> Study:
    """Convolutional networks over their number of layers per scale."""
    about = {"xlabel": "convolutional layers per scale", "unit": "layers per scale"}
    return _pairs(
        plan,
        seeds,
        out,
        command,
        "fig1-middle",
        "Figure 1, middle: convolutional networks over depth",
        **about,
    )


def fig1_right(plan: Plan, seeds: int, out: Path, command: str) -> Study:
    """Residual autoencoders over layers per block, errors divided by the shallowest net's and
    averaged over data sets.
    """
    blocks, convs = (sorted({depth[i] for depth in plan.depths}) for i in (0, 1))
    ratios = []
    for source in plan.sources:
        X = data.load(source, limit=plan.limit)
        errors = [
            runs(autoencoder, plan, X, source, (b, c), out, seed=np.arange(seeds)).error
            for b in blocks
            for c in convs
        ]
        ratios.append(np.reshape(errors, (len(blocks), len(convs), seeds)) / np.median(errors[0]))
    ratio = finite(np.mean(ratios, axis=0))
    held, said = relative_claim(blocks, convs, ratio)
    named = {f"{b} block{'s' * (b > 1)} per scale": r for b, r in zip(blocks, ratio, strict=True)}
    look: Any = {
        "xlabel": "convolutional layers per block",
        "ylabel": "error / the shallowest net's",
        "floor": {"the shallowest net": 1.0},
        "log": bool(ratio.max() > 5.0),
    }
    title = f"residual autoencoders, mean over {', '.join(names(plan))}"
    caption = "Error of residual autoencoders over that of the shallowest, averaged over data sets."
    figures = [
        draw(
            out, "fig1-right", caption, lambda: plot.depth_errors(convs, named, title=title, **look)
        )
    ]
    np.savez(out / "fig1-right.npz", allow_pickle=False, blocks=blocks, convs=convs, ratio=ratio)
    settings = plan.settings(seeds) | {"claim held here": held}
    study = Study(
        "fig1-right",
        "Figure 1, right: residual networks over depth",
        [said],
        [],
        figures,
        (),
        settings,
        command,
    )
    report.save(study, out)
    return study


def _pairs(
    plan: Plan, seeds: int, out: Path, command: str, name: str, title: str, xlabel: str, unit: str
) -> Study:
    said, figures, held = [], [], []
    for source, short in zip(plan.sources, names(plan), strict=True):
        X = data.load(source, limit=plan.limit)
        kinds = [
            [runs(kind, plan, X, source, d, out, seed=np.arange(seeds)) for d in plan.depths]
            for kind in (autoencoder, vae)
        ]
        plain, variational = (
            jax.tree.map(lambda *leaves: np.stack(leaves), *trained) for trained in kinds
        )
        constant = float(np.mean((X - X.mean(axis=0)) ** 2))
        errors = {"autoencoder": finite(plain.error), "VAE": finite(variational.error)}
        here, sentence = claim(
            plan.depths, unit, short, errors["autoencoder"], errors["VAE"], constant
        )
        held.append(here)
        said += [sentence, checks(plain, variational), collapse(plan.depths, unit, variational)]
        known = {"best constant": constant}
        drawn = partial(
            plot.depth_errors,
            plan.depths,
            errors,
            xlabel=xlabel,
            floor=known,
            title=f"{short}, {plan.latent} latents",
        )
        file = name if len(plan.sources) == 1 else f"{name}-{short}"
        figures.append(
            draw(out, file, f"Error of trained autoencoders and VAEs over depth, {short}.", drawn)
        )
        arrays = {f"autoencoder_{k}": v for k, v in plain._asdict().items() if v is not None}
        arrays |= {f"vae_{k}": v for k, v in variational._asdict().items() if v is not None}
        np.savez(out / f"{file}.npz", allow_pickle=False, depth=plan.depths, **arrays)
    settings = plan.settings(seeds) | {"claim held here": all(held)}
    study = Study(name, title, said, [], figures, (), settings, command)
    report.save(study, out)
    return study


def options(plan: Plan) -> dict[str, Any]:
    """Of training, the same for all kinds."""
    own = {name: getattr(plan, name) for name in ("steps", "batch", "learning_rate", "scale")}
    return own | {"record": min(RECORD, plan.steps)}


def kept(trained: Trained) -> Trained:
    """What figures need: all but the parameters."""
    return trained._replace(params=None)


def vae(X: jax.Array, networks: Architecture, plan: Plan, seed: Any) -> Trained:
    """One trained VAE; gamma is learned."""
    return kept(train.train(X, networks, jax.random.key(seed), **options(plan)))


def autoencoder(X: jax.Array, networks: Architecture, plan: Plan, seed: Any) -> Trained:
    """The autoencoder of the same networks, from the same start, on the same batches."""
    return kept(train.train_autoencoder(X, networks, jax.random.key(seed), **options(plan)))


def runs(
    kind: Callable[..., Trained],
    plan: Plan,
    X: np.ndarray,
    source: str,
    depth: Any,
    out: Path,
    **axes: Any,
) -> Trained:
    """kind(X, networks, plan, **cell) over a grid, NumPy arrays, the axes leading; what `out/runs`
    holds is not run again.
    """
    networks = plan.networks(X, plan.latent, depth)
    config = {
        "kind": kind.__name__,
        "source": source,
        "networks": networks.name,
        "latent": plan.latent,
        "steps": plan.steps,
    }
    config |= {"batch": plan.batch, "learning_rate": plan.learning_rate, "scale": plan.scale}
    config |= {"rows": len(X)}
    known = hashlib.sha256(json.dumps([config, list(axes)]).encode()).hexdigest()[:12]
    results = store.create(out / "runs" / f"{kind.__name__}-{known}", X, **config)
    cell = partial(kind, jnp.asarray(X, jnp.float32), networks, plan)
    bar = partial(tqdm, desc=f"{Path(source).name}, {networks.name}: {kind.__name__}", leave=False)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sweep.grid(cell, executor=pool, store=results, progress=bar, **axes)


def over_depth(
    kind: Callable[..., Trained], plan: Plan, X: np.ndarray, source: str, seeds: int, out: Path
) -> Trained:
    """Leading axes: depth, seed."""
    trained = [
        runs(kind, plan, X, source, depth, out, seed=np.arange(seeds)) for depth in plan.depths
    ]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trained)


def names(plan: Plan) -> list[str]:
    """Of the data sets."""
    return [Path(source).name for source in plan.sources]


def finite(error: Any) -> np.ndarray:
    """Errors, infinite where a run diverged."""
    error = np.asarray(error, dtype=float)
    return np.where(np.isfinite(error), error, np.inf)


def lower(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a is lower than b by the one-sided test of Mann and Whitney (1947), exact."""
    return bool(mannwhitneyu(a, b, alternative="less", method="exact").pvalue <= LEVEL)


class Trend(NamedTuple):
    """Errors over depth: which depth has the lowest median; whether the shallowest and the deepest
    are higher by the test; medians (m,).
    """

    at: int
    falls: bool
    rises: bool
    median: np.ndarray


def trend(errors: np.ndarray) -> Trend:
    """errors (m, seeds), by depth."""
    median = np.median(errors, axis=1)
    at = int(np.argmin(median))
    return Trend(at, lower(errors[at], errors[0]), lower(errors[at], errors[-1]), median)


def claim(
    depths: Sequence[int],
    unit: str,
    source: str,
    plain: np.ndarray,
    variational: np.ndarray,
    constant: float,
) -> tuple[bool, str]:
    """Whether the errors (m, seeds) of autoencoders and VAEs fall, then rise, the VAE's above the
    autoencoder's; in words.
    """
    ae, of_vae = trend(plain), trend(variational)
    above = bool((of_vae.median >= ae.median).all())
    missing = ["the autoencoder's error does not fall first"] * (not ae.falls)
    missing += [f"the autoencoder's error does not rise again up to {depths[-1]} {unit}"] * (
        not ae.rises
    )
    missing += ["the VAE's error is not above the autoencoder's at every depth"] * (not above)
    verdict = f"The paper's claim is not seen in full for {source}: {'; '.join(missing)}"
    if not missing:
        verdict = (
            f"The paper's claim holds for {source}: the autoencoder's error falls, then "
            f"rises, the VAE's is always above"
        )

    def course(t):
        return ", ".join(
            f"{t.median[i]:.4g} at {depths[i]}" for i in sorted({0, t.at, len(depths) - 1})
        )

    return not missing, (
        f"{verdict}. Median error per feature of {plain.shape[1]} seeds, by {unit}: autoencoder "
        f"{course(ae)}; VAE "
        f"{course(of_vae)}; the best constant has {constant:.4g}."
    )


def relative_claim(
    blocks: Sequence[int], convs: Sequence[int], ratio: np.ndarray
) -> tuple[bool, str]:
    """Whether errors over the shallowest net's (blocks, convs, seeds) rise with depth, skip
    connections or not; in words.
    """
    rises = [lower(r[0], r[-1]) for r in ratio]
    median = np.median(ratio, axis=2)
    course = "; ".join(
        f"{m[0]:.3g} to {m[-1]:.3g} with {b} block{'s' * (b > 1)} per "
        f"scale{'' if up else ' (no rise by the test)'}"
        for b, m, up in zip(blocks, median, rises, strict=True)
    )
    deepest = lower(ratio[0, 0], ratio[-1, -1])
    verdict = (
        "The paper's claim holds here"
        if all(rises)
        else "The paper's claim is not seen in full at this size"
    )
    return all(rises), (
        f"{verdict}: from {convs[0]} to {convs[-1]} layers per block the error of residual "
        f"autoencoders, over the shallowest "
        f"net's, goes from {course}, medians of {ratio.shape[2]} seeds; the deepest is "
        f"{'' if deepest else 'not '}above the "
        "shallowest by the test."
    )


def checks(plain: Trained, variational: Trained) -> str:
    """Equations 8 and 10 on every trained pair."""
    best, error, gamma = (
        np.asarray(x, float).ravel() for x in (plain.error, variational.error, variational.gamma)
    )
    ran = np.isfinite(best) & np.isfinite(error) & np.isfinite(gamma)
    over, off = 100 * (best / error - 1)[ran], 100 * np.abs(gamma / error - 1)[ran]
    violated = int((over > 0).sum())
    clear = int(
        (best - error > CLEAR * np.asarray(variational.error_std, float).ravel())[ran].sum()
    )
    worst = (
        f", at worst by {over.max():.2g} %, by more than {CLEAR:g} standard errors in {clear}"
        * (violated > 0)
    )
    worst += ": there training left the autoencoder above its best" * (clear > 0)
    return (
        f"{ran.sum()} of {ran.size} pairs trained to finite numbers. Eq. 8, the autoencoder's "
        f"error is at most the VAE's: "
        f"violated by {violated}{worst}. Eq. 10, gamma is the VAE's expected error per feature: "
        f"met to {np.median(off):.2g} % "
        f"in the median, {off.max():.2g} % at worst."
    )


def collapse(depths: Sequence[int], unit: str, variational: Trained) -> str:
    """How much of the VAEs' posteriors is near the prior."""
    shares = near_prior(variational.sigma).mean(axis=1)
    each = ", ".join(f"{100 * s:.0f} % at {d}" for d, s in zip(depths, shares, strict=True))
    return f"Share of the VAE's posterior standard deviations above 0.9, by {unit}: {each}."


def near_prior(counts: Any) -> np.ndarray:
    """Share of standard deviations above 0.9, of counts (..., k, bins) in the bins
    `train.SIGMA`.
    """
    counts = np.asarray(counts)
    return counts[..., train.SIGMA[:-1] > 0.9 - 1e-9].sum(axis=(-2, -1)) / counts.sum(axis=(-2, -1))
