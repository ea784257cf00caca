"""How much of the variance of the scores over a grid each hyperparameter explains, and how sensitive a score is to one."""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from jsweep.errors import ConfigError
from jsweep.results.statistics.intervals import Values


@dataclass(frozen=True, eq=False)
class VarianceShares:
    """Fractions of the variance over a grid, for k hyperparameters; they add up to one with the ``rest``.

    ``main`` has each hyperparameter's own, shape (k,); ``pairs`` what each two explain only together, shape (k, k),
    symmetric with zeros on the diagonal; ``rest`` what only three or more explain. ``variance`` is what they are
    fractions of. All are NaN where it is zero.
    """

    main: Float64[np.ndarray, " k"]
    pairs: Float64[np.ndarray, "k k"]
    rest: float
    variance: float


def variance_shares(values: Float64[np.ndarray, "..."]) -> VarianceShares:
    r"""The functional analysis of variance of scores over a full grid, with every cell weighted alike.

    With :math:`f_\emptyset` the mean, :math:`f_i` the mean over all axes but i less :math:`f_\emptyset`, and
    :math:`f_{ij}` that over all but i and j less :math:`f_i + f_j + f_\emptyset`, the variance of the scores is the sum of
    the means of :math:`f_i^2`, of :math:`f_{ij}^2`, and of higher orders (Hooker, 2007, "Generalized functional ANOVA
    diagnostics"). Hutter, Hoos and Leyton-Brown (2014) estimate the same from a random forest where there is no grid.

    Args:
        values: the scores, an axis a hyperparameter.

    Returns:
        The fractions of the variance.

    Raises:
        ConfigError: A score is not finite, or there is no axis or an empty one.
    """
    scores = np.asarray(values, np.float64)
    if not scores.ndim or not scores.size:
        raise ConfigError(f"values has shape {scores.shape}: pass the scores of a grid, an axis a hyperparameter.")
    if not np.isfinite(scores).all():
        raise ConfigError("values has scores that are not finite: leave out the levels that have them.")
    axes, scale = range(scores.ndim), np.abs(scores - scores.mean()).max()
    constant = scale <= np.abs(scores).max() * 1e-14  # rounding of equal scores
    centred = (scores - scores.mean()) / (np.nan if constant else scale)  # so that no square overflows
    centred -= centred.mean()
    variance = float(np.mean(centred**2))
    effects = [centred.mean(axis=tuple(a for a in axes if a != axis)) for axis in axes]
    main = np.array([np.mean(effect**2) for effect in effects])
    pairs = np.zeros((scores.ndim, scores.ndim))
    for i, j in itertools.combinations(axes, 2):
        both = centred.mean(axis=tuple(a for a in axes if a not in (i, j)))
        pairs[i, j] = pairs[j, i] = np.mean((both - effects[i][:, None] - effects[j][None, :]) ** 2)
    if constant:
        return VarianceShares(main * np.nan, pairs * np.nan, np.nan, 0.0)
    rest = 1 - (main.sum() + pairs.sum() / 2) / variance
    return VarianceShares(
        main / variance, pairs / variance, max(0.0, float(rest)), variance * float(scale) * float(scale)
    )


def sensitivity(losses: Values, *, initial: float) -> float:
    r"""How much is lost on average by not knowing the best learning rate: the mean of
    :math:`\min(\ell, \ell_0) - \min \ell` over the rates tried.

    Wortsman et al. (2023, "Small-scale proxies for large-scale Transformer training instabilities") define it so, over
    rates from three orders of magnitude that are spaced evenly in the logarithm. It is in the loss's units and depends
    on the range, so compare only what was tried at the same rates. A rate at which training diverges counts as
    :math:`\ell_0`.

    Args:
        losses: the loss after training at each rate, shape (rates,); NaN or infinite where training diverged.
        initial: the loss of the untrained model, :math:`\ell_0`, as the logarithm of the number of classes.

    Returns:
        The sensitivity, 0 where all rates do equally well; NaN where every rate diverged.

    Raises:
        ConfigError: ``losses`` is empty or not one-dimensional, or ``initial`` is not finite.
    """
    array = np.asarray(losses, np.float64)
    if array.ndim != 1 or not len(array):
        raise ConfigError(f"losses has shape {array.shape}: pass one loss a learning rate, shape (rates,).")
    if not np.isfinite(initial):
        raise ConfigError(f"initial={initial!r} is not finite: pass the loss of the untrained model.")
    finite = np.isfinite(array)
    if not finite.any():
        return float("nan")
    capped = np.where(finite, np.minimum(np.where(finite, array, initial), initial), initial)
    return float(np.mean(capped) - capped.min())
