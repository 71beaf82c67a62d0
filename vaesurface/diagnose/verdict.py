"""How does a diagnosis read? A label, what to do, and why.

>>> from vaesurface.diagnose import arrays
>>> diagnosis = arrays(x=[[1.0, 1.0], [-1.0, -1.0]], mean=[[0.0], [0.0]], log_std=[[0.0], [0.0]],
...     reconstruction=[[0.0, 0.0], [0.0, 0.0]], gamma=0.5)
>>> diagnosis.label
'(v) a bad local optimum, or training has not ended: 1 of 1 latents inactive'
>>> diagnosis.change.split(":")[0]
'Train on, and export again'
"""

from vaesurface.diagnose import advice, evidence
from vaesurface.diagnose.diagnosis import Facts
from vaesurface.diagnose.terms import Collapse
from vaesurface.glance import brief

__all__ = ["Diagnosis"]


@brief("change", "n", "d", "kl", "gamma", "beta", "error", "energy", "evidence", title="label")
class Diagnosis(Facts):
    """`Facts` whose kind has been judged, and its words."""

    __slots__ = ()

    @property
    def label(self) -> str:
        """The verdict in a line."""
        k = len(self.kl)
        if self.kind == Collapse.NONE:
            return f"no collapse: {_all(k)} carr{'ies' if k == 1 else 'y'} information"
        if self.kind == Collapse.COVARIANCE:
            return self.kind.words
        if self.contradictions:
            return f"the export contradicts itself: {self.contradictions[0].what}"
        if not self.inactive:
            return (
                f"{self.kind.words}: {_all(k)} differ{_s(k)} between data, "
                f"which the decoder makes no use of"
            )
        inactive = f"{self._words(self.kind)}: {self.inactive} of {k} latents inactive"
        kinds = [kind for kind in self.present if kind != Collapse.NONE]
        if len(kinds) == 1:
            return inactive
        counts = (f"{self.count(kind)} {self._words(kind)}" for kind in kinds)
        return f"{inactive}; {', '.join(counts)}"

    def _words(self, kind: Collapse) -> str:
        """Of a kind; arrays alone cannot tell a plateau from a bad local optimum."""
        if self.search is not None:
            return kind.words
        if kind == Collapse.LOCAL:
            return f"{kind.words}, or training has not ended"
        unsettled = self.unsettled or self.off_center
        if kind == Collapse.UNDECIDED and unsettled and self.spike is None:
            return f"{kind.words}, training has not ended"
        return kind.words

    @property
    def evidence(self) -> dict[str, str]:
        """Why, and by what right it is said, by topic: each sentence begins with its status."""
        return evidence.sentences(self)

    @property
    def change(self) -> str:
        """What to do, a part per kind that is there."""
        return advice.change(self)


def _all(k: int) -> str:
    return "the latent" if k == 1 else f"all {k} latents"


def _s(number: int) -> str:
    """Ending of a verb whose subject is so many."""
    return "s" if number == 1 else ""
