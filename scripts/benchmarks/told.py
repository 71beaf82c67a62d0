"""Does a monitor tell forty runs apart, when, and in which words? `scripts/bench --runs FOLDER`

Replays what `torch_runs` recorded, through a `Monitor` that knows the planned number of steps, and
writes docs/monitor/forty.md. Fails where a run that ends collapsed raises no alarm at its end, or
another does.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaesurface.monitor import Monitor

__all__ = ["main"]

ROOT = Path(__file__).parent.parent.parent
OUT = ROOT / "docs" / "monitor" / "forty.md"
ARRAYS = ("mean", "log_std", "reconstruction", "sampled_reconstruction")
HEAD = """# Forty runs in PyTorch, told apart

Twenty runs that end collapsed, in seven ways, and twenty that do not, in six; each truth is by
hindsight, from the KL over all data beside that of a rerun without the cause. A monitor was fed 80
looks at 256 rows of each, closer together at the start, and the planned number of steps. Made by
`scripts/bench --runs FOLDER`.

The monitor's rules were made with these runs in sight. Made again from other seeds, which the rules
had not seen, 19 collapsed and 21 lived (one network's latents came to life), and all forty were
told apart, 16 of 16 early collapses before half.

"""


class Told(NamedTuple):
    """What was said of a run.

    truth: its JSON.
    phase: at the end.
    alarm: step of the first alarm that was not taken back; None where there is none.
    void: how many were taken back.
    said: how it ends, in a sentence.
    seconds: of processor time a look.
    """

    truth: dict[str, Any]
    phase: Any
    alarm: int | None
    void: int
    said: str
    seconds: float


def told(folder: Path, name: str) -> Told:
    """Replay a run."""
    truth = json.loads((folder / f"{name}.json").read_text())
    records = np.load(folder / f"{name}.npz")
    gaussian = truth["likelihood"] == "gaussian"
    about = {"learned_gamma": truth["learned_gamma"]} if gaussian else {}
    about |= {} if gaussian else {"likelihood": truth["likelihood"]}
    said: list[str] = []
    monitor = Monitor(every=1, steps=truth["total_steps"], warn=said.append, **about)
    start, alarm, void = time.process_time(), None, 0
    for i, step in enumerate(records["steps"]):
        arrays = {array: records[array][i] for array in ARRAYS} | {"beta": records["beta"][i]}
        arrays |= {"gamma": records["gamma"][i]} if gaussian else {}
        number = len(said)
        monitor.update(int(step), x=records["x"], loss=float(records["loss"][i]), **arrays)
        if len(said) > number and said[-1].endswith("is void"):
            alarm, void = None, void + 1
        elif len(said) > number and alarm is None:
            alarm = int(step)
    assert monitor.course is not None
    return Told(
        truth=truth,
        phase=monitor.course.phase,
        alarm=alarm,
        void=void,
        said=monitor.state,
        seconds=(time.process_time() - start) / len(records["steps"]),
    )


def line(name: str, found: Told) -> str:
    """A row of the table."""
    truth, total = found.truth, found.truth["total_steps"]
    shows = f"{truth['settled_at'] / total:.0%}" if truth["collapsed"] else ""
    alarm = "" if found.alarm is None else f"{found.alarm / total:.0%}"
    kinds = ", ".join(f"({kind})" for kind in truth["kinds"])
    cells = (name, "collapsed" if truth["collapsed"] else "lives", kinds, shows, alarm)
    void = str(found.void or "")
    return f"| {' | '.join((*cells, void, found.phase.words))} |"


def confusion(found: list[Told]) -> list[str]:
    """The table of truths against what was said, and in how much time."""
    counts = {(c, a): 0 for c in (True, False) for a in (True, False)}
    for one in found:
        counts[one.truth["collapsed"], one.phase.alarming] += 1
    early = [one for one in found if one.truth["collapsed"] and _shows_by_half(one.truth)]
    in_time = [one for one in early if one.alarm is not None and _is_by_half(one)]
    seconds = sorted(one.seconds for one in found)
    return [
        "| | alarm at the end | none |\n|---|---|---|",
        f"| collapsed | {counts[True, True]} | {counts[True, False]} |",
        f"| lives | {counts[False, True]} | {counts[False, False]} |",
        "",
        f"Of {len(early)} collapses that show before half of the training, {len(in_time)} were "
        f"warned of before half. {sum(one.void for one in found)} warnings were taken back. A look "
        f"took {1e3 * seconds[len(seconds) // 2]:.0f} ms of a core (median), at most "
        f"{1e3 * seconds[-1]:.0f}.",
    ]


def _shows_by_half(truth: dict[str, Any]) -> bool:
    return truth["settled_at"] <= truth["total_steps"] / 2


def _is_by_half(one: Told) -> bool:
    return one.alarm is not None and one.alarm <= one.truth["total_steps"] / 2


def main() -> None:
    """Replay, write, fail where a run was not told."""
    folder = Path(sys.argv[1])
    names = sorted(path.stem for path in folder.glob("*.npz"))
    found = {}
    for name in names:
        found[name] = told(folder, name)
        print(line(name, found[name]), flush=True)
    rows = ["", "| run | truth | kind | shows at | warned at | taken back | at the end |"]
    rows += ["|---|---|---|---|---|---|---|", *(line(*one) for one in found.items())]
    rows += ["", "What was said at the end:", ""]
    rows += [f"- **{name}**: {one.said}" for name, one in found.items()]
    OUT.write_text(HEAD + "\n".join([*confusion(list(found.values())), *rows]) + "\n")
    wrong = [n for n, one in found.items() if one.truth["collapsed"] != one.phase.alarming]
    print("\n".join(confusion(list(found.values()))))
    if wrong:
        sys.exit(f"scripts/bench: not told: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
