"""How much of the best score is luck: whoever is chosen for the best score has, on average, a worse one."""

import math

import numpy as np
from jaxtyping import Float64

from jsweep._runtime.optional import import_optional
from jsweep._runtime.types import Mode
from jsweep.errors import ConfigError
from jsweep.results.statistics.intervals import Values


def expected_maximum(count: int) -> float:
    r"""The expected maximum of ``count`` standard normal values: :math:`n \int x \varphi(x) \Phi(x)^{n-1} dx`.

    That many standard errors is what the best of equally good configs overstates (Smith and Winkler, 2006, "The
    optimizer's curse"): 0.85 for three.
    """
    if count < 1:
        raise ConfigError(f"count={count!r} is not a whole number above 0: pass the number of configs.")
    normal, integrate = (import_optional(f"scipy.{name}", "statistics") for name in ("stats", "integrate"))
    density = lambda x: count * x * np.exp(normal.norm.logpdf(x) + (count - 1) * normal.norm.logcdf(x))
    return float(integrate.quad(density, -10, 10, points=[normal.norm.ppf(1 - 1 / (count + 1))], limit=200)[0])


def posterior_means(means: Values, standard_errors: Values) -> Float64[np.ndarray, " configs"]:
    r"""Configs' scores with the luck taken out: each mean is drawn towards the mean of all.

    Under a normal prior :math:`N(\mu, \tau^2)` estimated from the configs themselves, the posterior mean of config i is
    :math:`\mu + \frac{\tau^2}{\tau^2 + \sigma_i^2} (m_i - \mu)` (Smith and Winkler, 2006). :math:`\tau^2` is the variance
    of the means less the mean of :math:`\sigma_i^2`, and not below 0.

    Args:
        means: each config's mean over its seeds, shape (configs,).
        standard_errors: the standard error of each, shape (configs,).

    Returns:
        The posterior means, shape (configs,).

    Raises:
        ConfigError: the shapes differ, there are fewer than two configs, or a value is not finite.
    """
    scores, errors = np.asarray(means, np.float64), np.asarray(standard_errors, np.float64)
    if scores.ndim != 1 or scores.shape != errors.shape or len(scores) < 2:
        raise ConfigError(
            f"means has shape {scores.shape} and standard_errors {errors.shape}: pass two or more of each, one a config."
        )
    if not (np.isfinite(scores).all() and np.isfinite(errors).all() and (errors >= 0).all()):
        raise ConfigError("means or standard_errors has a value that is not finite: leave out such configs.")
    noise = errors**2
    prior = max(float(scores.var(ddof=1) - noise.mean()), 0.0)
    total = prior + noise
    kept = np.divide(prior, total, out=np.ones_like(total), where=total > 0)
    return scores.mean() + kept * (scores - scores.mean())


def optimism(scores: Float64[np.ndarray, "configs seeds"], *, mode: Mode) -> float:
    r"""By how much the best mean is likely to overstate its config, in the metric's unit, without training anything.

    Each seed is left out in turn: the best config is chosen by its mean over the other seeds, and that mean is compared
    with its score under the one left out, which had no part in the choice. The mean difference is how much a choice by
    :math:`n - 1` seeds overstates; times :math:`\sqrt{(n - 1) / n}`, as errors shrink with the root of the seeds, it is
    that of all :math:`n`. No distribution is assumed. ``experiments/simulated_sweeps.py`` compares it with the truth.

    Args:
        scores: each config's scores, under the same seeds, shape (configs, seeds).
        mode: "max" where larger scores are better, "min" where smaller ones are.

    Returns:
        The estimate, which may come out below 0 where there is little luck; NaN for fewer than two seeds.

    Raises:
        ConfigError: ``scores`` is not of that shape or not finite, or ``mode`` is neither.
    """
    if mode not in ("min", "max"):
        raise ConfigError(f"mode={mode!r} is not valid: pass 'min' or 'max'.")
    values = np.asarray(scores, np.float64) * (1 if mode == "max" else -1)
    if values.ndim != 2 or not values.size:
        raise ConfigError(f"scores has shape {values.shape}: pass an array of shape (configs, seeds).")
    if not np.isfinite(values).all():
        raise ConfigError("scores has a value that is not finite: leave out such configs.")
    seeds = values.shape[1]
    if seeds < 2:
        return math.nan
    others = (values.sum(axis=1, keepdims=True) - values) / (seeds - 1)
    chosen = others.argmax(axis=0)
    excess = others[chosen, np.arange(seeds)] - values[chosen, np.arange(seeds)]
    return float(excess.mean() * math.sqrt((seeds - 1) / seeds))
