"""What do the variables of a dataset mean, and in which units are they?

`described` gives each variable a `long_name` and, where it is one of a stationary point's, `units`,
as plots of xarray's and other tools read them, and puts what a reader looks for first. Of a
function of somebody's own nothing is known: its results keep their names, and get no units.

>>> import xarray as xr
>>> described(xr.Dataset({"speed": ("seed", [1.0, 2.0])})).speed.attrs
{'long_name': 'speed'}
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from vaesurface import marks

__all__ = ["described"]

ENERGY = "twice nats per datum"
OUTPUT = "units of the decoder's output"
ONE = "1"  # a number without dimension, as CF's conventions write it
# What points have in common, and no function of somebody's own by accident.
OF_POINTS = {"kind", "grad_norm", "inertia_negative"}
# What parameters of VAEs are called; then energies are in the paper's units.
OF_VAES = ("theory_collapsed", "params_log_std", "params_encoder", "params_decoder")

# Of a result, what it is and in which units, as `stationary.StationaryPoint` and what it holds say.
RESULTS = {
    "loss": ("energy", ENERGY),
    "grad_norm": ("norm of the energy's gradient", ENERGY),
    "scaled_grad": ("largest slope, per natural size of a parameter", ENERGY),
    "newton_step": ("largest change by a Newton step, in parameters' sizes", ONE),
    "inertia_negative": ("negative eigenvalues of the Hessian", ONE),
    "inertia_flat": ("flat eigenvalues of the Hessian", ONE),
    "inertia_positive": ("positive eigenvalues of the Hessian", ONE),
    "wide_negative": ("negative eigenvalues, with ten times the flat band", ONE),
    "wide_flat": ("flat eigenvalues, with ten times the flat band", ONE),
    "wide_positive": ("positive eigenvalues, with ten times the flat band", ONE),
    "kind": ("kind of point", ONE),
    "active": ("whether a latent carries information", ONE),
    "symmetries": ("dimension of the loss's continuous symmetry", ONE),
    "reliable": ("whether rounding leaves the count of eigenvalues as it is", ONE),
    "optimal": ("whether it is the global minimum", ONE),
    "curvature": ("curvature along the direction of descent", ENERGY),
    "rounding": ("norm of the rounding of the gradient", ENERGY),
    "beyond": ("distance within which no stationary point lies, in parameters' sizes", ONE),
    "missing_gradient": ("entries of the gradient that are not finite", ONE),
    "missing_hessian": ("entries of the Hessian that are not finite", ONE),
    "size": ("number of parameters", ONE),
    "refinement_converged": ("whether the refinement reached a stationary point", ONE),
    "refinement_grad_norm": ("norm of the gradient after refinement", ENERGY),
    "refinement_steps": ("steps of the refinement", ONE),
    "refinement_moved": ("distance that the refinement moved", ONE),
    "refinement_rise": ("rise of the energy during refinement", ENERGY),
    "refinement_outcome": ("why the refinement ended", ONE),
    "refinement_grown": ("norm of the parameters, over that of their sizes at the start", ONE),
    "theory_dead_rows": ("rows of the weight at zero", ONE),
    "theory_collapsed": ("whether it is collapsed", ONE),
    "theory_strict": ("flat directions along which the energy is known to rise", ONE),
    "theory_falling": ("dead rows along which the energy is known to fall", ONE),
    "theory_drop": ("fall of the energy along those rows", ENERGY),
    "theory_radius": ("row norm up to which nothing is lower than collapse", OUTPUT),
    "theory_minimum": ("infimum of the energy", ENERGY),
    "theory_slope": ("slope of the energy in log gamma along a ray to -inf", ENERGY),
    "theory_push": ("derivative of the energy by log gamma", ENERGY),
    "theory_runaway": ("whether a parameter left every sensible scale", ONE),
    "theory_doubt": ("distance from such a ray, in roundings of the data", ONE),
    "theory_family": ("dimension of a family of stationary points of one energy", ONE),
    "theory_form": ("directions along which a corner's leading form falls, is open, rises", ONE),
    "theory_limit": ("whether that row norm holds as all else comes near to collapse", ONE),
    "theory_corner": ("whether it is at a corner of which nothing is known", ONE),
    "probe_falls": ("whether the energy falls along a flat direction", ONE),
    "probe_drop": ("fall of the energy along a flat direction", ENERGY),
    "probe_radius": ("distance of that fall, in parameters' sizes", ONE),
    "probe_directions": ("flat directions that were probed", ONE),
    "probe_begins": ("distance from which it is lower, in parameters' sizes", ONE),
    "probe_rises": ("whether the energy rises nearer than that", ONE),
    "probe_power": ("power of the distance with which the energy falls", ONE),
    "search_eigenvalues": ("lowest curvatures that were found", ENERGY),
    "search_residuals": ("their residuals", ENERGY),
    "search_highest": ("highest curvature", ENERGY),
    "search_highest_residual": ("its residual", ENERGY),
    "search_width": ("half-width of the flat band", ENERGY),
    "search_lower": ("bound below all eigenvalues", ENERGY),
    "search_delta": ("probability that the bound fails", ONE),
    "search_symmetries": ("dimension of the symmetry that was left out", ONE),
    "search_products": ("products with the Hessian", ONE),
    "search_settled": ("whether the search came to an end", ONE),
    "kink_found": ("whether the energy has a kink", ONE),
    "kink_mismatch": ("misfit of the quadratic model", ENERGY),
    "kink_falls": ("whether the energy falls along a straight line", ONE),
    "kink_drop": ("fall of the energy along that line", ENERGY),
    "ties_active": ("operations at a tie", ONE),
    "ties_exact": ("operations within rounding of a tie", ONE),
    "ties_nearest": ("distance to the nearest other tie, in parameters' sizes", ONE),
    "ties_opaque": ("whether operations are unknown", ONE),
    "ties_pieces": ("smooth pieces that meet", ONE),
    "ties_outcome": ("what the pieces say together", ONE),
    "ties_slope": ("slope of the fall that they show", ENERGY),
    "ties_drop": ("fall of the energy that they show", ENERGY),
    "params_weight": ("weight of the decoder", OUTPUT),
    "params_bias": ("bias of the decoder", OUTPUT),
    "params_log_gamma": ("logarithm of the decoder's variance", ONE),
    "params_mean": ("means of the posteriors", ONE),
    "params_log_std": ("logarithms of the posteriors' standard deviations", ONE),
    "params_factor": ("what correlates the posteriors' latents", ONE),
}
# The same of the axes of `vaesurface sweep`, whose stores say so.
AXES = {
    "alpha": ("threshold of the decoder", OUTPUT),
    "gamma": ("variance of the decoder", "units of the data, squared"),
    "beta": ("weight of the KL part", ONE),
    "scale": ("scale of the random start", ONE),
    "seed": ("seed of the random start", ONE),
}
BENT = {"alpha": ("strength of the activation", ONE)}  # instead, where the store names one
OF_SWEEPS = {"source", "latent", "optimizer"}
OWN = {
    "computed": ("whether the cell is computed", ONE),
    "label": ("verdict", ONE),
    "feature": ("feature", ONE),
}
# How names begin of what a reader looks for, in order; parameters come after all else.
FIRST = ("label", "kind", "loss", "grad_norm", "inertia_", "active", "theory_")
LAST = "params_"


def described(ds: Any, config: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """A dataset whose variables and coordinates say what they are, verdicts first, parameters last:
    a shallow copy.

    config: of the store that it is from.
    """
    names = set(ds.data_vars)
    table = dict(OWN)
    if names >= OF_POINTS:
        table |= RESULTS
    if config.keys() >= OF_SWEEPS:
        table |= AXES | (BENT if config.get("activation") else {})
    of_vae = any(str(name).startswith(OF_VAES) for name in names)
    ds = ds.copy()
    for name, variable in ds.variables.items():
        variable.attrs.update(_attributes(str(name), table, of_vae or name in AXES))
        if name == "kind" and "kind" in table:
            variable.attrs.update(_flags())
    return ds[sorted(ds.data_vars, key=_place)]


def _place(name: Any) -> int:
    """Where among a dataset's variables one of that name stands."""
    if str(name).startswith(LAST):
        return len(FIRST) + 1
    places = (place for place, start in enumerate(FIRST) if str(name).startswith(start))
    return next(places, len(FIRST))


def _attributes(
    name: str, table: Mapping[str, tuple[str, str]], with_units: bool
) -> dict[str, str]:
    """Of one variable. with_units: whether energies and parameters have known ones; those of a loss
    of one's own are in its own.
    """
    if name not in table:
        return {"long_name": name}
    words, units = table[name]
    return {"long_name": words} | ({"units": units} if with_units or units == ONE else {})


def _flags() -> dict[str, Any]:
    """What the codes of kinds stand for, as CF's conventions have it."""
    words = " ".join(look.name.replace(" ", "_") for look in marks.KINDS.values())
    return {"flag_values": list(marks.KINDS), "flag_meanings": words}
