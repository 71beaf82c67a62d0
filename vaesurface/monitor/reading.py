"""What does one look at a run say? From arrays to the numbers of an `Update`.

>>> import numpy as np
>>> x = np.random.default_rng(0).standard_normal((256, 4)) * [3.0, 1.0, 1.0, 1.0]
>>> off = np.zeros((256, 1))
>>> seen = Reader().read(0, 0.0, x=x, mean=off, log_std=off, reconstruction=0 * x, gamma=1.0)
>>> seen.active, seen.pays, round(seen.gain, 1)  # a further latent would pay
((False,), 1, 2.8)
"""

from typing import Any, NamedTuple

import numpy as np

from vaesurface.data import plain
from vaesurface.diagnose import export, measures, natural, natural_judge
from vaesurface.diagnose.diagnosis import Facts, affine_gain
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.judge import judge
from vaesurface.diagnose.terms import Collapse
from vaesurface.diagnose.verdict import Diagnosis

__all__ = ["Reader", "Update"]

# A warm-up of the KL part begins at 0, where every latent would pay: at this beta, too.
LEAST_BETA = 1e-6


class Update(NamedTuple):
    """One look at a run with k latents; nats per datum, energies in the paper's units.

    step: of the optimizer.
    loss: as the training loop has it; NaN where it was not given.
    energy: of the rows looked at.
    kl: (k,), KL divergence of each latent from the prior.
    carried: (k,), the most that each latent can carry of a datum.
    active: (k,), whether that is ACTIVE_NATS or more.
    active_units: latents that Burda et al. 2016 call active.
    error: expected squared error per coordinate; at gamma = 1, in units of the data's deviation
        under the decoder, where the likelihood is not Gaussian.
    gamma: decoder variance.
    gammabar: variance of the data per coordinate.
    beta: weight of the KL part.
    variance: the largest that a direction of the residual has.
    lasting: of that what lasts from one half of the rows to the other.
    gain: what a further affine latent would gain by that at this beta gamma.
    pays: whether that is more than ACTIVE_NATS: 1 yes, -1 no, 0 unclear.
    pays_freed: the same with gamma at its best and beta = 1.
    wanted: latents of the best affine VAE at this gamma and beta.
    unsettled: what training has not ended with, by name, and what that would gain.
    doubt: what cannot be true of a trained VAE; "" where there is nothing.
    kind: of collapse, by name.
    kinds: (k,), of each latent.
    label: the verdict on this look alone, in a line.
    likelihood: of the decoder.
    """

    step: int
    loss: float
    energy: float
    kl: tuple[float, ...]
    carried: tuple[float, ...]
    active: tuple[bool, ...]
    active_units: int
    error: float
    gamma: float
    gammabar: float
    beta: float
    variance: float
    lasting: float
    gain: float
    pays: int
    pays_freed: int
    wanted: int
    unsettled: dict[str, float]
    doubt: str
    kind: str
    kinds: tuple[str, ...]
    label: str
    likelihood: str


class Reader:
    """Reads looks at the same rows, and remembers what these alone decide.

    last: the arrays of the last look, checked.
    """

    def __init__(self) -> None:
        self.last: Export | None = None
        self._known: measures.OfData | None = None

    def read(self, step: int, loss: float, **arrays: Any) -> Update:
        """One look. arrays: as `diagnose.arrays` takes them; beta may be 0.

        Raises ValueError for what that refuses.
        """
        beta = arrays.pop("beta", 1.0)
        off = np.size(plain(beta)) == 1 and not np.any(plain(beta))
        seen = export.check(**arrays, beta=LEAST_BETA if off else beta)
        update = self.look(step, loss, seen)
        return update._replace(beta=0.0) if off else update

    def look(self, step: int, loss: float, seen: Export) -> Update:
        """The same of arrays that are checked."""
        if not self._is_of_the_same_rows(seen):
            self._known = _known(seen)
        self.last = seen
        with np.errstate(all="ignore"):  # a training loop may take warnings for errors
            return _update(step, loss, self._diagnosis(seen))

    def _is_of_the_same_rows(self, seen: Export) -> bool:
        last = self.last
        if self._known is None or last is None or last.likelihood != seen.likelihood:
            return False
        return last.mean.shape == seen.mean.shape and np.array_equal(last.x, seen.x)

    def _diagnosis(self, seen: Export) -> Diagnosis:
        """Without what takes long: gap, mutual information and, of other likelihoods, the best
        affine VAE.
        """
        if seen.likelihood == "gaussian":
            return judge(measures.measure(seen, known=self._known, in_full=False))
        assert self._known is not None
        return natural_judge.judged(natural.measured_here(seen, self._known))


def _known(seen: Export) -> measures.OfData:
    k = seen.mean.shape[1]
    if seen.likelihood == "gaussian":
        return measures.of_data(seen.x, k)
    return natural.of_data(seen.x, k, seen.likelihood, seen.classes)


def _update(step: int, loss: float, found: Diagnosis) -> Update:
    return Update(
        step=step,
        loss=loss,
        energy=found.energy,
        kl=_floats(found.kl),
        carried=_floats(found.carried),
        active=tuple(map(bool, found.active)),
        active_units=int(found.active_units.sum()),
        error=found.error,
        gamma=found.gamma,
        gammabar=found.gammabar,
        beta=found.beta,
        variance=float(found.residual[0]),
        lasting=found.lasting,
        gain=affine_gain(found.lasting / found.level),
        pays=found.pays,
        pays_freed=found.pays_at(_freed_level(found)),
        wanted=int(min(found.affine.kept, found.affine_lasting.kept)),
        unsettled={part.what: part.nats for part in found.unsettled},
        doubt=found.contradictions[0].what if found.contradictions else "",
        kind=found.kind.name,
        kinds=tuple(Collapse(int(kind)).name for kind in found.kinds),
        label=found.label,
        likelihood="gaussian" if found.likelihood is None else found.likelihood.name,
    )


def _freed_level(facts: Facts) -> float:
    """beta gamma with gamma at its best and beta = 1, of a Gaussian; else beta = 1."""
    return facts.least if facts.likelihood is None else min(1.0, facts.level)


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
