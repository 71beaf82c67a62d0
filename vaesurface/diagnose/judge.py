"""Which kind of collapse is it? From numbers to a verdict, by rules that are tried in order.

>>> from vaesurface.diagnose.export import check
>>> from vaesurface.diagnose.measures import measure
>>> trap = check(x=[[1.0, 1.0], [-1.0, -1.0]], mean=[[0.0], [0.0]], log_std=[[0.0], [0.0]],
...     reconstruction=[[0.0, 0.0], [0.0, 0.0]], gamma=0.5)
>>> judge(measure(trap)).label
'(v) a bad local optimum, or training has not ended: 1 of 1 latents inactive'
"""

import numpy as np

from vaesurface.diagnose.diagnosis import Facts
from vaesurface.diagnose.terms import ACTIVE_NATS, SHARP_STD, Collapse, Search
from vaesurface.diagnose.verdict import Diagnosis

__all__ = ["judge"]

# The whole is of the first of these kinds that one of its latents is of.
PRECEDENCE = (
    Collapse.LOCAL,
    Collapse.GAMMA,
    Collapse.COVARIANCE,
    Collapse.FLEXIBLE,
    Collapse.UNDECIDED,
    Collapse.SUPERFLUOUS,
)
# Nats of KL of one datum from which a latent that most data do not use is not said to be
# superfluous.
LOUD_NATS = 1.0
# Part of what a learned gamma gains up to which what a local optimum costs is a small one.
SMALL_PART = 0.1
# Squared error over variance from which on data are not reconstructed.
DIFFUSE_ERROR = 0.5
# In the paper's units, twice nats: energies that are no further apart are the same.
SAME_ENERGY = 2.0 * ACTIVE_NATS


def judge(facts: Facts) -> Diagnosis:
    """The verdict on numbers of `measures.measure`."""
    kinds = _kinds(facts)
    return Diagnosis(*facts)._replace(kind=_leading(facts, kinds), kinds=kinds)


def _leading(facts: Facts, kinds: np.ndarray) -> Collapse:
    """The kind of the whole: the first of PRECEDENCE that a latent is of, but for a gamma that most
    inactive latents are due to, and by far the most of the energy.
    """
    present = [kind for kind in PRECEDENCE if (kinds == kind).any()]
    if {Collapse.LOCAL, Collapse.GAMMA} <= {*present} and facts.search is None:
        most = (kinds == Collapse.GAMMA).sum() > (kinds == Collapse.LOCAL).sum()
        if most and facts.lower_lasting < SMALL_PART * facts.freed:
            return Collapse.GAMMA
    return present[0] if present else Collapse.NONE


def _kinds(facts: Facts) -> np.ndarray:
    """The kind (k,) of every latent."""
    kinds = np.full(len(facts.kl), int(Collapse.NONE))
    spike = facts.spike
    if spike is not None and spike.share > 0 and spike.diffuse >= DIFFUSE_ERROR:
        # Whatever latents carry, it keeps other data away from the spike and reconstructs none of
        # them.
        kinds[:] = Collapse.COVARIANCE
    elif facts.inactive:
        kinds[~facts.active] = _inactive_kinds(facts)
    elif facts.idle or facts.contradictions:
        kinds[:] = Collapse.UNDECIDED
    return kinds


def _inactive_kinds(facts: Facts) -> np.ndarray:
    """The kinds (inactive,) of inactive latents; they are alike, so the first are given what holds
    for some of them.
    """
    kinds = np.full(facts.inactive, int(Collapse.UNDECIDED))
    if facts.spike is not None or _is_doubtful(facts):
        return kinds
    if facts.flexible:
        return _beside_what_is_seen(facts)
    settled = facts.search is not None or not facts.unsettled
    lost = _lost(facts) if settled else 0
    revived = max(0, _revived(facts, lost) - _after_descent(facts) - lost) if settled else 0
    kinds[:lost] = Collapse.LOCAL
    kinds[lost : lost + revived] = Collapse.GAMMA
    if _superfluous(facts, lost):
        quiet = (facts.kl < ACTIVE_NATS) & (facts.loudest < LOUD_NATS)
        kinds[(kinds == Collapse.UNDECIDED) & quiet[~facts.active]] = Collapse.SUPERFLUOUS
    return kinds


def _is_doubtful(facts: Facts) -> bool:
    """Whether the arrays are not those of a trained Gaussian VAE, so that no kind can be read off
    them.
    """
    if facts.binary:
        return True
    if facts.search is not None:
        return False
    # Of a decoder of latents alone, what pays neither at this gamma nor at a learned one is
    # superfluous however much bias, scale, gamma and the other latents have still to gain.
    unsettled = facts.unsettled if facts.flexible else ()
    doubts = (unsettled, facts.contradictions, facts.off_center, facts.idle, not facts.consistent)
    return any(map(bool, doubts))


def _beside_what_is_seen(facts: Facts) -> np.ndarray:
    """The kinds (inactive,) of latents of a decoder that sees more than latents.

    It needs none only where none pays in what it leaves, neither at its gamma nor at a learned one;
    where none pays at this gamma and beta, and some would with gamma learned and beta = 1, those
    are to blame.
    """
    kinds = np.full(facts.inactive, int(Collapse.UNDECIDED))
    nothing = facts.pays_at(facts.least) == -1 or facts.like_noise
    if nothing and not (facts.coded(facts.least) or facts.coded_free):
        kinds[:] = Collapse.FLEXIBLE
    elif facts.added is not None and facts.pays == -1 and (facts.fixed or facts.beta > 1.0):
        kinds[: int(facts.added.kept)] = Collapse.GAMMA
    return kinds


def _on(facts: Facts) -> int:
    """Number of active latents."""
    return int(facts.active.sum())


def _after_descent(facts: Facts) -> int:
    """Number of active latents once plain descent from here has brought to life what it does: that
    is neither a local optimum's fault nor gamma's, training has not ended.
    """
    if facts.search is None:
        return _on(facts)
    return max(_on(facts), facts.search.used(facts.search.polished_active))


def _lost(facts: Facts) -> int:
    """How many inactive latents something lower at this gamma and beta uses."""
    if facts.search is not None:
        return _lost_in_search(facts, facts.search)
    # Both: an affine latent pays where this decoder is, and an affine VAE is lower as a whole. One
    # alone may be a sign of training that has not ended.
    pays = facts.family and facts.pays == 1
    if not (pays and min(facts.lower, facts.lower_lasting) > ACTIVE_NATS):
        return 0
    return max(0, int(min(facts.affine.kept, facts.affine_lasting.kept)) - _on(facts))


def _lost_in_search(facts: Facts, search: Search) -> int:
    """The same where other starts were tried: of the best end or, if that is lower, the best affine
    VAE.
    """
    if facts.family and facts.affine.energy < search.best:
        gain = 0.5 * (min(search.energy, search.polished) - float(facts.affine.energy))
        kept = int(facts.affine.kept)
    else:
        gain, kept = search.gain, search.used(search.best_active)
    return max(0, kept - _after_descent(facts)) if gain > ACTIVE_NATS else 0


def _revived(facts: Facts, lost: int) -> int:
    """How many latents would be active if gamma were learned and beta 1; those that are where that
    is so or nothing is known.
    """
    on = _on(facts)
    if not facts.fixed and facts.beta <= 1.0:
        return on
    search = facts.search
    if search is not None and search.revived_active >= 0:
        affine_is_lower = facts.family and facts.free.energy < search.revived
        return int(facts.free.kept) if affine_is_lower else search.revived_active
    # A decoder that at its own best gamma is better than any affine one does not need the latents
    # that those need.
    if (lost or _nothing_pays(facts)) and facts.freed > ACTIVE_NATS:
        return max(on, min(int(facts.free.kept), facts.free_lasting))
    return on


def _nothing_pays(facts: Facts) -> bool:
    """Whether nothing that was looked at gains by a further latent at this gamma and beta."""
    return (
        facts.pays == -1
        and facts.lower <= ACTIVE_NATS
        and not facts.coded(facts.level)
        and (facts.component is None or facts.component.gain == 0.0)
    )


def _superfluous(facts: Facts, lost: int) -> bool:
    """Whether inactive latents that neither something lower nor a learned gamma uses are known to
    be superfluous.
    """
    if facts.idle:
        return False
    if facts.search is not None:
        return _superfluous_in_search(facts, facts.search, lost)
    sharp = _on(facts) > 0 and bool((facts.std[facts.active] <= SHARP_STD).all())
    return (
        sharp
        and lost == 0
        and facts.pays_at(facts.least) == -1
        and facts.lower <= ACTIVE_NATS
        and not facts.coded(facts.least)
        and not facts.coded_free
    )


def _superfluous_in_search(facts: Facts, search: Search, lost: int) -> bool:
    """The same where other starts were tried and switching latents off was.

    That more starts find nothing is no proof where an affine latent should pay, or where everything
    is off; and where descent from here brings latents to life, training has not ended.
    """
    on = _on(facts)
    should_pay = facts.pays == 1 and lost == 0 and facts.affine.kept > on
    ended = _after_descent(facts) == on
    optimal = abs(search.energy - search.minimum) <= SAME_ENERGY
    believed = on + lost > 0 and not should_pay and ended
    return search.dropped <= SAME_ENERGY and bool(believed or optimal)
