"""A multilayer perceptron as two functions, for experiments that need a model and nothing more."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

Params = list[dict[str, jax.Array]]


def init_mlp(key: jax.Array, sizes: Sequence[int]) -> Params:
    """Weights (n, m) from a normal distribution of variance 2 / n (He et al. 2015), biases (m,) of zero, layer by layer.

    ``sizes`` are the widths from the inputs to the outputs.

    >>> [layer["w"].shape for layer in init_mlp(jax.random.key(0), [64, 32, 10])]
    [(64, 32), (32, 10)]
    """
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}
        for k, n, m in zip(keys, sizes[:-1], sizes[1:])
    ]


def apply_mlp(
    params: Params,
    x: jax.Array,
    activation: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    dropout: float | jax.Array = 0.0,
    key: jax.Array | None = None,
) -> jax.Array:
    """The outputs (batch, m) for inputs (batch, n): ``activation`` after every layer but the last.

    With a ``key`` each hidden unit is dropped with probability ``dropout`` (which may be traced) and the others are
    divided by the probability of staying (Srivastava et al. 2014); without one, as in evaluation, none is.
    """
    for number, layer in enumerate(params[:-1]):
        x = activation(x @ layer["w"] + layer["b"])
        if key is not None and not (isinstance(dropout, float) and dropout == 0.0):
            keep = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - dropout, x.shape)
            x = jnp.where(keep, x / (1 - dropout), 0.0)
    return x @ params[-1]["w"] + params[-1]["b"]
