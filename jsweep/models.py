"""A multilayer perceptron as two functions, for experiments that need a model and nothing more."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jsweep.task.lanes import Width

Params = list[dict[str, jax.Array]]


def init_mlp(key: jax.Array, sizes: Sequence[int | Width]) -> Params:
    """Weights (n, m) from a normal distribution of variance 2 / n (He et al. 2015), biases (m,) of zero, layer by layer.

    ``sizes`` are the widths from the inputs to the outputs. Where one is a `jsweep.Width`, a width in a lane, arrays are
    made for the widest; the real units start just as in a model built at their number, the others at zero.

    >>> [layer["w"].shape for layer in init_mlp(jax.random.key(0), [64, 32, 10])]
    [(64, 32), (32, 10)]
    """
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": _weights(k, n, m), "b": jnp.zeros(_most(m))} for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def _weights(key: jax.Array, n: int | Width, m: int | Width) -> jax.Array:
    """A row at a time, each from a key of its own, so that the first rows and columns do not depend on how many follow."""
    row = lambda number: jax.random.normal(jax.random.fold_in(key, number), (_most(m),))
    weights = jax.vmap(row)(jnp.arange(_most(n))) * jnp.sqrt(2 / (n.size if isinstance(n, Width) else n))
    if isinstance(n, Width):
        weights = jnp.where(n.mask()[:, None], weights, 0.0)
    if isinstance(m, Width):
        weights = jnp.where(m.mask(), weights, 0.0)
    return weights


def _most(size: int | Width) -> int:
    return size.most if isinstance(size, Width) else size


def apply_mlp(
    params: Params,
    x: jax.Array,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    dropout: float | jax.Array = 0.0,
    key: jax.Array | None = None,
    widths: Sequence[int | Width] = (),
) -> jax.Array:
    """The outputs (batch, m) for inputs (batch, n): ``activation`` after every layer but the last.

    With a ``key`` each hidden unit is dropped with probability ``dropout`` (which may be traced) and the others are
    divided by the probability of staying (Srivastava et al. 2014); without one, as in evaluation, none is. ``widths``
    are those of the hidden layers, needed where one is a `jsweep.Width`: its masked units give zero.
    """
    for number, layer in enumerate(params[:-1]):
        x = activation(x @ layer["w"] + layer["b"])
        if number < len(widths) and isinstance(width := widths[number], Width):
            x = jnp.where(width.mask(), x, 0.0)
        if key is not None and not (isinstance(dropout, float) and dropout == 0.0):
            keep = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - dropout, x.shape)
            x = jnp.where(keep, x / (1 - dropout), 0.0)
    return x @ params[-1]["w"] + params[-1]["b"]
