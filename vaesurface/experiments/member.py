"""Which member of the family is a result of? As the command line and stores name it.

>>> named("relu", "bernoulli").words
'relu, bernoulli likelihood'
>>> named().settings, named("hard-tanh").settings
({}, {'activation': 'hard tanh'})
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vaesurface import activations, vae
from vaesurface.activations import Activation
from vaesurface.experiments import imported
from vaesurface.problem import Problem

__all__ = ["PAPERS", "Member", "named", "of_settings"]


class Member(NamedTuple):
    """What `vae.elementwise_vae` makes a problem of, besides data and numbers; by default the
    paper's.

    activation: of the decoder. likelihood, posterior: their names. dispersion: of a negative
    binomial.
    """

    activation: Activation = activations.NAMED["soft threshold"]
    likelihood: str = "gaussian"
    posterior: str = "diagonal"
    dispersion: float | None = None

    def problem(self, X: Any, latent: int, alpha: Any, gamma: Any, beta: Any) -> Problem:
        """The loss surface. Raises ValueError for what makes none."""
        return vae.elementwise_vae(
            X,
            latent,
            self.activation,
            alpha,
            self.likelihood,
            self.posterior,
            gamma,
            beta,
            dispersion=self.dispersion,
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Those that are not the paper's, as stores and pages have them."""
        told = {**self._asdict(), "activation": self.activation.name}
        usual = {**PAPERS._asdict(), "activation": PAPERS.activation.name}
        return {name: value for name, value in told.items() if value != usual[name]}

    @property
    def words(self) -> str:
        """The same in words, for titles; empty for the paper's."""
        told = self.settings
        parts = [told[name] for name in ("activation",) if name in told]
        parts += [f"{told[name]} {name}" for name in ("likelihood", "posterior") if name in told]
        if self.dispersion is not None:
            parts.append(f"r = {self.dispersion:g}")
        return ", ".join(parts)

    def carry(self) -> None:
        """Let a function of the user's travel to workers that do not have it."""
        if ":" in self.activation.name:
            imported.carry(self.activation.name)


PAPERS = Member()


def named(
    activation: str = PAPERS.activation.name,
    likelihood: str = PAPERS.likelihood,
    posterior: str = PAPERS.posterior,
    dispersion: float | None = None,
) -> Member:
    """One by names, in which hyphens may stand for spaces.

    activation: as in `activations.NAMED`, or MODULE:FUNCTION of a JAX function g, for (1 - alpha) u
    + alpha g(u). Raises ValueError for an activation that there is none of, and where the
    quadrature of g is not good enough.
    """
    if ":" in activation:
        bend: Activation = activations.checked(
            activations.numeric(imported.function(activation), name=activation)
        )
    else:
        bend = activations.named(_spaced(activation))
    return Member(bend, _spaced(likelihood), _spaced(posterior), dispersion)


def of_settings(settings: Mapping[str, Any]) -> Member:
    """That of a store, by its settings; the paper's where they name none."""
    return named(**{name: settings[name] for name in Member._fields if name in settings})


def _spaced(name: str) -> str:
    return name.replace("-", " ")
