"""How does a diagnosis read? Evidence, each sentence with its status, and what would change the
verdict.

Statuses: *exact* (arithmetic on what was given), *proved*, *closed form* (for affine decoders or
affine additions to this one, posteriors being at their best), *measured*, *estimated*, *unknown*.
"""

import math

from vaesurface.diagnose.diagnosis import ACTIVE, BURDA, SHARP, Collapse, Diagnosis, Search


def evidence(f: Diagnosis) -> dict[str, str]:
    """Sentences by topic."""
    said = {"latents": _latents(f), "information": _information(f), "error": _error(f)}
    if f.spike is not None:
        return said | {"covariance": _covariance(f)}
    said["gamma"] = _gamma(f)
    if f.binary:
        said["likelihood"] = (
            "unknown: all data are zeros and ones; if the decoder was trained with a Bernoulli "
            "likelihood, no gamma stands for "
            "that, and what is said of gamma is void; if it is Gaussian, give learned_gamma"
        )
    if not f.consistent:
        said["posteriors"] = (
            f"estimated: deviations of the active latents fit a beta gamma of {f.fitted:.3g}, "
            f"not the {f.beta * f.gamma:.3g} "
            "that was given: gamma and beta are not those of the loss, or the encoder is far "
            "from its optimum"
        )
    if f.idle or f.off_center:
        said["use"] = (
            f"exact: at the posterior mean the squared error per coordinate is "
            f"{f.error_at_mean:.4g}, that of always "
            f"answering with the mean of the data {f.gammabar:.4g}"
        )
    if not f.alone:
        said["latents alone"] = _alone(f)
    if not math.isnan(f.prior_error):
        said["prior draws"] = (
            f"measured: squared error per coordinate {f.prior_error:.4g} with latents drawn from "
            f"the prior, "
            f"{f.error_at_mean:.4g} with posterior means"
        )
    if f.inactive and f.active.any():
        said["sharp"] = (
            f"exact: root mean square posterior deviation of the active latents "
            f"{f.std[f.active].min():.3g} to "
            f"{f.std[f.active].max():.3g} (sharp up to {SHARP:g})"
        )
    if f.inactive and not f.flexible:
        said |= {"additions": _additions(f), "affine": _affine(f)}
        if f.component is not None:
            said["any decoder"] = _any(f)
        if len(f.codes):
            said["clusters"] = _clusters(f)
        if f.fixed or f.beta > 1.0:
            said["learned gamma"] = _learned(f)
    return said | ({} if f.search is None else _searched(f, f.search))


def change(f: Diagnosis) -> str:
    """One line per kind that is there."""
    present = [c for c in Collapse if (f.kinds == c).any() or c == f.kind]
    return " ".join(_change(f, c) for c in present if c != Collapse.NONE or f.kind == Collapse.NONE)


def _change(f: Diagnosis, kind: Collapse) -> str:
    match kind:
        case Collapse.NONE:
            return "Nothing has to change."
        case Collapse.SUPERFLUOUS:
            return (
                f"Superfluous latents need no cure: "
                f"{len(f.kl) - int((f.kinds == kind).sum())} would do as well as {len(f.kl)}."
            )
        case Collapse.GAMMA:
            level = f.residual[0] / f.beta
            return (
                "Learn gamma (it settles at the expected error per coordinate, eq. 10) with beta "
                "= 1. Or hold gamma below "
                f"{level:.4g}, where a further latent begins to pay: leading eigenvalue of the "
                f"residual's covariance over beta."
            )
        case Collapse.COVARIANCE:
            return (
                "Give the decoder a covariance gamma I with one learned gamma; a floor on its "
                "variances only bounds the spike."
            )
        case Collapse.FLEXIBLE:
            return (
                "Let the decoder see less of the datum itself, or ask of the latents what "
                "likelihood does not."
            )
        case Collapse.LOCAL:
            return _escape(f)
        case Collapse.UNDECIDED:
            return _missing(f)


def _escape(f: Diagnosis) -> str:
    s = f.search
    if s is None or math.isnan(s.fresh):
        given = (
            f" All this holds for beta gamma = {f.beta * f.gamma:.4g}, as given; had the loss "
            f"one above {f.residual[0]:.4g} (a "
            "squared error averaged over d features makes gamma d / 2), it would be kind (ii)."
        ) * f.fixed
        return (
            "Train the deterministic autoencoder with the same networks: if it cannot get below "
            "gamma either, they or their "
            "optimization are to blame and no schedule on the KL term helps; if it can, start "
            "the VAE elsewhere or larger." + given
        )
    if s.fresh >= f.gamma:
        return (
            f"The autoencoder of the same networks is stuck too, at {s.fresh:.4g} per coordinate "
            f"against gamma = "
            f"{f.gamma:.4g}: change the networks (fewer layers, skips, normalization) or their "
            f"optimization; a schedule on the "
            "KL term does not move this point."
        )
    return (
        f"The autoencoder of the same networks reaches {s.fresh:.4g} per coordinate, below gamma "
        f"= {f.gamma:.4g}: start "
        "elsewhere (larger weights, other seeds, or from that autoencoder)."
    )


def _missing(f: Diagnosis) -> str:
    if f.binary:
        return (
            "Say what the likelihood is: with a Gaussian decoder give learned_gamma; "
            "Bernoulli decoders are not judged."
        )
    if f.search is None and not f.consistent:
        return (
            "Give gamma and beta as the loss has them: a squared error averaged over d features "
            "makes gamma d / 2, a KL part "
            "averaged makes beta smaller (docs/diagnose.md). If they are right, train the "
            "encoder on."
        )
    if f.idle:
        return (
            "Train on: latents differ from datum to datum, but the decoder makes nothing of "
            "it (or x is not what it was fed)."
        )
    if f.search is None and f.off_center:
        return (
            "Train on until the decoder answers with the data's mean; or x is not what it was "
            "fed (units, centering, order)."
        )
    if f.search is None and f.spike is None:
        return (
            "To decide, diagnose the problem itself, where other starts can be tried, or give "
            "more data or optional arrays."
        )
    return "Nothing that was tried decides; more starts or more steps might."


def _latents(f: Diagnosis) -> str:
    kl = ", ".join(f"{v:.3g}" for v in f.kl[:16]) + ", ..." * (len(f.kl) > 16)
    left_out = ", the data on which density spikes left out" * (
        f.spike is not None and f.spike.share > 0
    )
    alike = int(((f.kl >= ACTIVE) & ~f.active).sum())
    same = (
        f" ({alike} more differ{'s' if alike == 1 else ''} from the prior, but in the same way "
        f"for all data)" * (alike > 0)
    )
    return (
        f"exact: KL from the prior {kl} nats per datum; {int(f.active.sum())} of {len(f.kl)} "
        f"latents can carry {ACTIVE:g} or "
        f"more{left_out}{same}; {int(f.active_units.sum())} with a variance of the posterior "
        f"mean above {BURDA:g}"
    )


def _information(f: Diagnosis) -> str:
    i = f.information
    full = ", about the most that so many data can show" * (i.value > 0.9 * i.limit)
    value = f"I(x; z) = {i.value:.3g} +- {i.error:.1g} nats of at most log n = {i.limit:.3g}{full}"
    return f"measured: {value}; mean KL {f.kl.sum():.3g}"


def _error(f: Diagnosis) -> str:
    return (
        f"{f.error_status}: expected squared error per coordinate {f.error:.4g}, "
        f"{100 * f.error / f.gammabar:.3g} % of the "
        f"data's variance {f.gammabar:.4g}"
    )


def _gamma(f: Diagnosis) -> str:
    how = {True: "learned", False: "fixed", None: "learned or fixed, that was not given"}[f.learned]
    agree = (
        "as eq. 10 has it at its optimum" if f.matches else "not its optimum, the error (eq. 10)"
    )
    return (
        f"{f.error_status}: gamma = {f.gamma:.4g} ({how}) is {f.gamma / f.error:.3g} times "
        f"the expected error, {agree}"
    )


def _alone(f: Diagnosis) -> str:
    if f.bound <= 0:
        return (
            "unknown: these posteriors carry enough that nothing bounds the error of a "
            "decoder that sees latents alone"
        )
    status = "proved" if f.bound_proved and f.error_status != "estimated" else "measured"
    how = "above" if f.error < f.bound else "not above"
    return (
        f"{status}: a decoder that sees nothing but latents at this KL has an error of at least "
        f"{f.bound:.4g} per coordinate, "
        f"{how} the one here"
    )


def _additions(f: Diagnosis) -> str:
    level = f.beta * f.gamma
    verdict = {
        1: "so a further affine latent would pay",
        -1: "so no further affine latent pays",
        0: "so whether a further affine latent pays beyond these data is unclear",
    }[f.pays]
    return (
        f"closed form for affine additions: the residual's covariance has leading eigenvalue "
        f"{f.residual[0]:.4g} ("
        f"{f.lasting:.4g} from one half of the data to the other), beta gamma is {level:.4g}, "
        f"{verdict}"
    )


def _affine(f: Diagnosis) -> str:
    where = f"at gamma = {f.gamma:.4g}" if f.fixed else "gamma learned"
    gap = 0.5 * (f.energy - f.affine.energy)
    how = "lower" if gap > 0 else "higher"
    beyond = "" if f.family else "; this decoder's family does not contain affine maps"
    return (
        f"closed form for affine decoders: the best one ({where}, beta = {f.beta:g}) keeps "
        f"{f.affine.kept} latents and is "
        f"{abs(gap):.4g} nats per datum {how}{beyond}"
    )


def _any(f: Diagnosis) -> str:
    c = f.component
    assert c is not None
    if c.gain == 0.0:
        status, found = ("proved", "is") if c.proved else ("measured", "was found to be")
        return (
            f"{status}: at this beta gamma no decoder at all {found} better than the "
            f"collapsed one (Lindsay's criterion)"
        )
    return (
        "measured: at this beta gamma another decoder, affine or not, may be better than this "
        "one (Lindsay's criterion)"
    )


def _learned(f: Diagnosis) -> str:
    than = (
        f"; it is {abs(f.freed):.4g} nats per datum {'lower' if f.freed > 0 else 'higher'} "
        f"than this VAE at its own best gamma"
    )
    return (
        f"closed form for affine decoders: with gamma learned and beta = 1 the best one keeps "
        f"{f.free.kept} latents "
        f"({f.free_lasting} of its directions last from one half of the data to the other) at "
        f"gamma = {f.free.gamma:.4g}{than}"
    )


def _clusters(f: Diagnosis) -> str:
    if f.coded(f.beta * f.gamma):
        return (
            "measured: the residual has clusters that may be worth a latent, though no affine "
            "addition is"
        )
    if f.coded_free:
        return (
            "measured: the residual has clusters that may be worth a latent once gamma has "
            "fallen with the error"
        )
    return (
        "measured: the residual has no clusters, along its leading directions, that are worth "
        "a latent"
    )


def _searched(f: Diagnosis, s: Search) -> dict[str, str]:
    said = {}
    if f.inactive and not math.isnan(s.dropped):
        how = "higher" if s.dropped >= 0 else "lower"
        said["dropping"] = (
            f"exact: without the inactive latents the energy is {abs(0.5 * s.dropped):.2g} nats "
            f"per datum {how}"
        )
    found = (
        f"{s.gain:.4g} nats per datum lower than descent from these parameters"
        if s.gain > 0
        else "not lower than these"
    )
    said["starts"] = (
        f"measured: of {s.starts} starts (as it is, perturbed, inactive latents switched on, "
        f"random) the best, at this gamma "
        f"and beta, has {s.best_active} active latents and is {found}"
    )
    if s.revived_active >= 0:
        said["revived"] = (
            f"measured: with gamma learned and beta = 1 the best of as many starts has "
            f"{s.revived_active} active latents"
        )
    if not math.isnan(s.fresh):
        said["autoencoder"] = (
            f"measured: the deterministic autoencoder of the same networks gets to {s.own:.4g} "
            f"per coordinate from these "
            f"parameters and to {s.fresh:.4g} from random ones; gamma is {f.gamma:.4g}"
        )
    if s.ray_active >= 0:
        said["optimum"] = (
            "exact up to rounding of the data: this energy has no lower bound, it falls with "
            "gamma along a ray that uses "
            f"{s.ray_active} latents"
        )
    if not math.isnan(s.minimum):
        said["optimum"] = (
            f"exact: {0.5 * (s.energy - s.minimum):.3g} nats per datum above the global minimum "
            f"of this problem"
        )
    if s.point:
        said["surface"] = f"judged (stationary.analyze): {s.point}"
    return said


def _covariance(f: Diagnosis) -> str:
    q = f.spike
    assert q is not None
    if q.share == 0:
        return (
            "measured: gamma varies, but there are no few data on which it is far below that of "
            "all others; of a gamma that "
            "varies no more than kind (iii) is judged"
        )
    return (
        f"measured: on {100 * q.share:.3g} % of the data the log variances are {q.spread:.3g} "
        f"below the others', whose "
        f"squared error is {100 * q.diffuse:.3g} % of their variance; as those few variances "
        f"shrink to zero the energy has no "
        "lower bound"
    )
