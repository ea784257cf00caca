"""A multilayer perceptron as two functions, for experiments that need a model and nothing more."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jsweep.errors import ConfigError
from jsweep.task.lanes import Width

Params = list[dict[str, Float[Array, "..."]]]
"""One dict per layer: "w" of shape (inputs, outputs) and "b" of shape (outputs,)."""


def init_mlp(key: jax.Array, sizes: Sequence[int | Width]) -> Params:
    """The parameters of a multilayer perceptron.

    Weights (n, m) are drawn from a normal distribution of variance 2 / n (He et al. 2015); biases (m,) are zero. Where a
    size is a `jsweep.Width`, a width in a lane, arrays are made for the largest width: the real units start exactly as in a
    model of their number, the others at zero.

    Raises ConfigError for fewer than two ``sizes`` (inputs first, outputs last), and for a size below 1.

    >>> [layer["w"].shape for layer in init_mlp(jax.random.key(0), [64, 32, 10])]
    [(64, 32), (32, 10)]
    """
    if len(sizes) < 2 or any(not isinstance(size, Width) and size < 1 for size in sizes):
        raise ConfigError(
            f"sizes={sizes!r} is not valid: pass the inputs, the hidden layers and the outputs, each at least 1."
        )
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": _weights(k, n, m), "b": jnp.zeros(_largest(m))}
        for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def _weights(key: jax.Array, n: int | Width, m: int | Width) -> Float[Array, "n m"]:
    """One row at a time, each from a key of its own, so that the first rows do not depend on how many follow."""
    row = lambda number: jax.random.normal(jax.random.fold_in(key, number), (_largest(m),))
    weights = jax.vmap(row)(jnp.arange(_largest(n))) * jnp.sqrt(2 / (n.size if isinstance(n, Width) else n))
    if isinstance(n, Width):
        weights = jnp.where(n.mask()[:, None], weights, 0.0)
    if isinstance(m, Width):
        weights = jnp.where(m.mask(), weights, 0.0)
    return weights


def _largest(size: int | Width) -> int:
    return size.most if isinstance(size, Width) else size


def apply_mlp(
    params: Params,
    x: Float[Array, "batch inputs"],
    activation: Callable[[Float[Array, "batch units"]], Float[Array, "batch units"]] = jax.nn.relu,
    dropout: float | Float[Array, ""] = 0.0,
    key: jax.Array | None = None,
    widths: Sequence[int | Width] = (),
) -> Float[Array, "batch outputs"]:
    """The outputs of a multilayer perceptron.

    Args:
        params: from `init_mlp`.
        x: inputs, shape (batch, inputs).
        activation: applied after every layer but the last.
        dropout: the probability of dropping each hidden unit (Srivastava et al. 2014); may be traced. Units that stay are
            divided by ``1 - dropout``.
        key: draws the units to drop; without one, as in evaluation, none is dropped.
        widths: the widths of the hidden layers, needed where one is a `jsweep.Width`: its masked units give zero.

    Returns:
        Outputs, shape (batch, outputs).
    """
    for number, layer in enumerate(params[:-1]):
        x = activation(x @ layer["w"] + layer["b"])
        if number < len(widths) and isinstance(width := widths[number], Width):
            x = jnp.where(width.mask(), x, 0.0)
        if key is not None and not (isinstance(dropout, float) and dropout == 0.0):
            keep = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - dropout, x.shape)
            x = jnp.where(keep, x / (1 - dropout), 0.0)
    return x @ params[-1]["w"] + params[-1]["b"]
