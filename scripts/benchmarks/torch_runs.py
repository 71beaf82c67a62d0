"""Which of forty PyTorch runs collapse, and what would a monitor have been fed?
`python -m benchmarks.torch_runs FOLDER [NAME ...]`

Writes FOLDER/NAME.npz, what was recorded of a fixed set of rows (below), and FOLDER/NAME.json, what
is true of the run, by KL and energies alone: it is collapsed if fewer latents are active at its end
than in a run without the cause, KL averaged over all data.

    steps (T,); x (n, d); mean, log_std (T, n, k); reconstruction, at the mean,
    sampled_reconstruction, at one draw (T, n, d): of a Bernoulli likelihood, probabilities;
    gamma (T,), or (T, n) where it is a network's; beta (T,); loss (T,), mean since the last record
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.torch_forty import COLLAPSED, KEPT
from benchmarks.torch_vae import ACTIVE_NATS, Run, Trained, train

__all__ = ["main"]

PROCESSES = 2
RUNS = COLLAPSED | KEPT
SHOWN = 8  # latents of a run in the table, by KL
HEAD = ("run", "truth", "active: of those without the cause", "KL, nats, at the start")
HEAD += ("at a quarter", "at half", "at the end", "settled", "quiet", "energy, without the cause")
HEAD += ("squared error, without the cause, of the variance", "seconds")


def lasting(kl: np.ndarray) -> int:
    """The first record from which on the same latents are active as at the end; kl (T, k)."""
    active = kl > ACTIVE_NATS
    differs = np.flatnonzero((active != active[-1]).any(1))
    return int(differs[-1]) + 1 if differs.size else 0


def truth(
    name: str, run: Run, trained: Trained, without: Trained, stuck: float | None
) -> dict[str, Any]:
    """What is known by hindsight."""
    steps, kl = trained.records["steps"], trained.kl
    active = kl > ACTIVE_NATS
    used = int((without.kl[-1] > ACTIVE_NATS).sum())
    lost = max(0, used - int(active[-1].sum()))
    quiet = ~active.any(1)
    return {
        "name": name,
        "way": run.way,
        "collapsed": lost > 0,
        "meant": name in COLLAPSED,
        "lost": lost,
        "inactive": np.flatnonzero(~active[-1]).tolist(),
        "active": int(active[-1].sum()),
        "active_without_cause": used,
        "kinds": list(run.kinds),
        "total_steps": run.steps,
        "settled_at": int(steps[lasting(kl)]),
        "quiet_share": float(np.diff(steps, append=run.steps)[quiet].sum() / run.steps),
        "likelihood": run.likelihood,
        "learned_gamma": run.learned or run.per_datum,
        "free_bits": run.free,
        "batch": run.batch,
        "rows": len(run.data()),
        "kl": {
            part: kl[np.searchsorted(steps, share * run.steps)].round(5).tolist()
            for part, share in (("start", 0.0), ("quarter", 0.25), ("half", 0.5), ("end", 1.0))
        },
        "energy": trained.energy,
        "energy_without_cause": without.energy,
        "error": trained.error,
        "error_without_cause": without.error,
        "error_of_autoencoder": stuck,
        "variance": float(run.data().var(0).mean()),
        "seconds": trained.seconds,
    }


def made(name: str, folder: Path) -> dict[str, Any]:
    """The run, the one without its cause and, of deep ones, the autoencoder; written."""
    torch.set_num_threads(1)
    run = RUNS[name]
    trained, without = train(run), train(run._replace(**run.cause))
    stuck = None
    if run.way == "deep":
        stuck = train(run._replace(sampled=False, learned=False)).error
    np.savez(folder / f"{name}.npz", **trained.records)
    facts = truth(name, run, trained, without, stuck)
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
    return facts


def line(facts: dict[str, Any]) -> str:
    """A row of the table."""
    kl = [
        " ".join(f"{max(value, 0.0):.2g}" for value in sorted(part, reverse=True)[:SHOWN])
        for part in facts["kl"].values()
    ]
    stuck = facts["error_of_autoencoder"]
    cells = [
        facts["name"],
        "collapsed" if facts["collapsed"] else "kept",
        f"{facts['active']} of {facts['active_without_cause']}",
        *kl,
        f"{facts['settled_at'] / facts['total_steps']:.0%}",
        f"{facts['quiet_share']:.0%}",
        f"{facts['energy']:.4g}, {facts['energy_without_cause']:.4g}",
        f"{facts['error']:.2g}, {facts['error_without_cause']:.2g} of {facts['variance']:.2g}"
        + ("" if stuck is None else f" (autoencoder {stuck:.2g})"),
        f"{facts['seconds']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Make runs, print their table, and fail where one is not what it was meant to be."""
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(RUNS)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}", flush=True)
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        wrong = []
        for facts in pool.map(made, names, [folder] * len(names)):
            print(line(facts), flush=True)
            if facts["collapsed"] != facts["meant"]:
                wrong.append(facts["name"])
    if wrong:
        sys.exit(f"benchmarks.torch_runs: not as meant: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
