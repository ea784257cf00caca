"""Families of models of other shapes than the benchmarks': each a loss of parameters and a batch, in plain JAX."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

Params = Any
BATCH = 32
EXAMPLES = 256
_draws = np.random.default_rng(0)


@dataclass(frozen=True)
class Family:
    """A model and its data; lanes differ in the learning rate of Adam (or, where it is said, of plain SGD).

    ``init(key) -> params``; ``loss(params, x, y) -> scalar`` for a batch of `BATCH` rows of ``x`` and ``y``.
    """

    name: str
    init: Callable[[jax.Array], Params]
    loss: Callable[[Params, Any, Any], jax.Array]
    x: np.ndarray
    y: np.ndarray
    lanes: int = 32
    steps: int = 60
    optimizer: Callable[[Any], optax.GradientTransformation] = optax.adam


FAMILIES: dict[str, Callable[[], Family]] = {}


def _family(make: Callable[..., Family]) -> Callable[..., Family]:
    FAMILIES[make.__name__.strip("_")] = functools.partial(make, make.__name__.strip("_"))
    return make


def _floats(*shape: int) -> np.ndarray:
    return _draws.normal(size=(EXAMPLES, *shape)).astype(np.float32)


def _classes(count: int = 10) -> np.ndarray:
    return _draws.integers(0, count, EXAMPLES).astype(np.int32)


def _matrix(key: jax.Array, *shape: int) -> jax.Array:
    return jax.random.normal(key, shape) / np.sqrt(np.prod(shape[:-1]))


def _entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), y).mean()


def _squares(outputs: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.mean((outputs - y) ** 2)


def _layers(sizes: list[int]) -> Callable[[jax.Array], Params]:
    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, len(sizes) - 1)
        return [(_matrix(k, n, m), jnp.zeros(m)) for k, n, m in zip(keys, sizes, sizes[1:])]

    return init


def _dense(params: Params, x: jax.Array, activation: Callable = jax.nn.relu, norm: Callable = lambda x: x) -> jax.Array:
    for w, b in params[:-1]:
        x = activation(norm(x @ w + b))
    return x @ params[-1][0] + params[-1][1]


def _layer_norm(x: jax.Array) -> jax.Array:
    return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)


def _rms_norm(x: jax.Array) -> jax.Array:
    return x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)


def _batch_norm(x: jax.Array) -> jax.Array:
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) * lax.rsqrt(x.var(axes) + 1e-5)


def _perceptron(name: str, sizes: list[int], **options: Any) -> Family:
    shown = {key: options.pop(key) for key in ("activation", "norm") if key in options}
    loss = lambda p, x, y: _entropy(_dense(p, x, **shown), y)
    return Family(name, _layers(sizes), loss, _floats(sizes[0]), _classes(sizes[-1]), **options)


# -- dense ------------------------------------------------------------------------------------------------------------


@_family
def linear(name: str) -> Family:
    return _perceptron(name, [64, 10], optimizer=optax.sgd)


@_family
def tiny(name: str) -> Family:
    return _perceptron(name, [4, 8, 2], lanes=256)


@_family
def mlp16(name: str) -> Family:
    return _perceptron(name, [64, 16, 16, 10])


@_family
def mlp64(name: str) -> Family:
    return _perceptron(name, [64, 64, 64, 10])


@_family
def mlp512(name: str) -> Family:
    return _perceptron(name, [64, 512, 10], lanes=8, steps=30)


@_family
def wide_input(name: str) -> Family:
    return _perceptron(name, [784, 32, 10])


@_family
def layer_norm(name: str) -> Family:
    return _perceptron(name, [64, 64, 64, 10], norm=_layer_norm, activation=jax.nn.gelu)


@_family
def batch_norm(name: str) -> Family:
    return _perceptron(name, [64, 64, 64, 10], norm=_batch_norm)


@_family
def residual(name: str) -> Family:
    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, 8)
        pairs = [(_matrix(keys[2 * i], 32, 64), _matrix(keys[2 * i + 1], 64, 32)) for i in range(3)]
        return {"in": _matrix(keys[6], 64, 32), "blocks": pairs, "out": _matrix(keys[7], 32, 10)}

    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        h = x @ p["in"]
        for up, down in p["blocks"]:
            h = h + jax.nn.silu(_rms_norm(h) @ up) @ down
        return _entropy(h @ p["out"], y)

    return Family(name, init, loss, _floats(64), _classes())


@_family
def bfloat16(name: str) -> Family:
    half = lambda tree: jax.tree.map(lambda a: a.astype(jnp.bfloat16), tree)
    loss = lambda p, x, y: _entropy(_dense(half(p), half(x)), y)
    return Family(name, _layers([64, 64, 64, 10]), loss, _floats(64), _classes())


@_family
def autoencoder(name: str) -> Family:
    x = _floats(64)
    return Family(name, _layers([64, 32, 8, 32, 64]), lambda p, x, y: _squares(_dense(p, x, jnp.tanh), y), x, x)


@_family
def lora(name: str) -> Family:
    frozen = jnp.asarray(_draws.normal(size=(128, 128)).astype(np.float32) / 11)

    def init(key: jax.Array) -> Params:
        one, two = jax.random.split(key)
        return {"a": _matrix(one, 128, 4), "b": jnp.zeros((4, 128)), "out": _matrix(two, 128, 10)}

    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        return _entropy(jax.nn.relu(x @ frozen + (x @ p["a"]) @ p["b"]) @ p["out"], y)

    return Family(name, init, loss, _floats(128), _classes())


@_family
def mixture_of_experts(name: str) -> Family:
    def init(key: jax.Array) -> Params:
        one, two, three = jax.random.split(key, 3)
        return {
            "gate": _matrix(one, 64, 4),
            "up": jax.random.normal(two, (4, 64, 32)) / 8,
            "out": _matrix(three, 32, 10),
        }

    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        gates = jax.nn.softmax(x @ p["gate"])
        return _entropy(
            jnp.einsum("be,bef->bf", gates, jax.nn.relu(jnp.einsum("bd,edf->bef", x, p["up"]))) @ p["out"], y
        )

    return Family(name, init, loss, _floats(64), _classes())


@_family
def embeddings(name: str) -> Family:
    def init(key: jax.Array) -> Params:
        one, two = jax.random.split(key)
        return {"table": jax.random.normal(one, (500, 16)), "out": _matrix(two, 16, 10)}

    tokens = _draws.integers(0, 500, (EXAMPLES, 12)).astype(np.int32)
    loss = lambda p, x, y: _entropy(p["table"][x].mean(1) @ p["out"], y)
    return Family(name, init, loss, tokens, _classes())


@_family
def factorization(name: str) -> Family:
    def init(key: jax.Array) -> Params:
        one, two = jax.random.split(key)
        return jax.random.normal(one, (300, 8)) / 3, jax.random.normal(two, (300, 8)) / 3

    pairs = _draws.integers(0, 300, (EXAMPLES, 2)).astype(np.int32)
    loss = lambda p, x, y: _squares(jnp.sum(p[0][x[:, 0]] * p[1][x[:, 1]], -1), y)
    return Family(name, init, loss, pairs, _floats())


# -- sequences --------------------------------------------------------------------------------------------------------


def _recurrent(name: str, gates: int, state: int, cell: Callable[[jax.Array, jax.Array], jax.Array]) -> Family:
    """``cell(z, h) -> h``, whose first 32 numbers are its output; ``z`` holds 32 for each gate."""

    def init(key: jax.Array) -> Params:
        one, two, three = jax.random.split(key, 3)
        return {"x": _matrix(one, 8, gates * 32), "h": _matrix(two, 32, gates * 32), "out": _matrix(three, 32, 10)}

    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        step = lambda h, seen: (cell(seen @ p["x"] + h[:, :32] @ p["h"], h), None)
        last, _ = lax.scan(step, jnp.zeros((x.shape[0], state)), x.swapaxes(0, 1))
        return _entropy(last[:, :32] @ p["out"], y)

    return Family(name, init, loss, _floats(12, 8), _classes(), steps=30)


@_family
def rnn(name: str) -> Family:
    return _recurrent(name, 1, 32, lambda z, h: jnp.tanh(z))


@_family
def lstm(name: str) -> Family:
    def cell(z: jax.Array, h: jax.Array) -> jax.Array:
        i, f, g, o = jnp.split(z, 4, -1)
        c = jax.nn.sigmoid(f + 1) * h[:, 32:] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jnp.concatenate([jax.nn.sigmoid(o) * jnp.tanh(c), c], -1)

    return _recurrent(name, 4, 64, cell)


@_family
def gru(name: str) -> Family:
    def cell(z: jax.Array, h: jax.Array) -> jax.Array:
        r, u, n = jnp.split(z, 3, -1)
        u = jax.nn.sigmoid(u)
        return u * h + (1 - u) * jnp.tanh(jax.nn.sigmoid(r) * n)

    return _recurrent(name, 3, 32, cell)


@_family
def state_space(name: str) -> Family:
    def init(key: jax.Array) -> Params:
        one, two, three = jax.random.split(key, 3)
        return {"a": jax.random.normal(one, (32,)), "in": _matrix(two, 8, 32), "out": _matrix(three, 32, 10)}

    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        decay = jnp.broadcast_to(jax.nn.sigmoid(p["a"]), (x.shape[1], x.shape[0], 32))
        join = lambda one, two: (one[0] * two[0], one[1] * two[0] + two[1])
        _, h = lax.associative_scan(join, (decay, (x @ p["in"]).swapaxes(0, 1)))
        return _entropy(jax.nn.gelu(h[-1]) @ p["out"], y)

    return Family(name, init, loss, _floats(16, 8), _classes())


def _attends(p: Params, x: jax.Array, heads: int) -> jax.Array:
    q, k, v = (t.reshape(*x.shape[:2], heads, -1) for t in jnp.split(x @ p["qkv"], 3, -1))
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1]))
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape) @ p["mix"]


def _transformer(name: str, tokens: int, d: int, norm: Callable, **options: Any) -> Family:
    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, 6)
        shapes = {"in": (8, d), "qkv": (d, 3 * d), "mix": (d, d), "up": (d, 2 * d), "down": (2 * d, d), "out": (d, 10)}
        return {name: _matrix(k, *shape) for k, (name, shape) in zip(keys, shapes.items())}

    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        h = x @ p["in"]
        h = h + _attends(p, norm(h), 4)
        h = h + jax.nn.silu(norm(h) @ p["up"]) @ p["down"]
        return _entropy(norm(h).mean(1) @ p["out"], y)

    return Family(name, init, loss, _floats(tokens, 8), _classes(), lanes=16, steps=20, **options)


@_family
def attention(name: str) -> Family:
    return _transformer(name, 32, 64, lambda x: x)


@_family
def transformer(name: str) -> Family:
    return _transformer(name, 8, 32, _rms_norm)


# -- convolutions -----------------------------------------------------------------------------------------------------


def _convolutional(
    name: str,
    size: tuple[int, ...],
    kernels: list[tuple[int, ...]],
    after: Callable[[jax.Array], jax.Array] = jax.nn.relu,
    **how: Any,
) -> Family:
    """Convolutions over the axes of ``size``, channels last, then the mean and a dense layer."""
    letters = "DHW"[-len(size) :]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    strides = how.pop("strides", 1)

    def init(key: jax.Array) -> Params:
        keys = jax.random.split(key, len(kernels) + 1)
        return [*(_matrix(k, *shape) for k, shape in zip(keys, kernels)), _matrix(keys[-1], kernels[-1][-1], 10)]

    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        for kernel in p[:-1]:
            groups = x.shape[-1] // kernel.shape[-2]
            step = (strides,) * len(size)
            x = lax.conv_general_dilated(
                x, kernel, step, "SAME", dimension_numbers=numbers, feature_group_count=groups, **how
            )
            x = after(x)
        return _entropy(x.mean(tuple(range(1, x.ndim - 1))) @ p[-1], y)

    return Family(name, init, loss, _floats(*size, kernels[0][-2]), _classes(), lanes=8, steps=10)


@_family
def conv(name: str) -> Family:
    return _convolutional(name, (8, 8), [(3, 3, 1, 8), (3, 3, 8, 16)])


@_family
def strided(name: str) -> Family:
    return _convolutional(name, (16, 16), [(5, 5, 3, 8), (5, 5, 8, 16)], strides=2)


@_family
def depthwise(name: str) -> Family:
    return _convolutional(name, (8, 8), [(1, 1, 3, 16), (3, 3, 1, 16), (1, 1, 16, 16)])


@_family
def dilated(name: str) -> Family:
    return _convolutional(name, (32,), [(3, 4, 16), (3, 16, 16)], rhs_dilation=(2,))


@_family
def conv3d(name: str) -> Family:
    return _convolutional(name, (6, 6, 6), [(3, 3, 3, 1, 4), (3, 3, 3, 4, 8)])


@_family
def conv_norm(name: str) -> Family:
    return _convolutional(name, (8, 8), [(3, 3, 1, 8), (3, 3, 8, 8)], after=lambda x: jax.nn.relu(_batch_norm(x)))


@_family
def pooled(name: str) -> Family:
    def pool(x: jax.Array) -> jax.Array:
        return jax.nn.relu(lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4)

    return _convolutional(name, (8, 8), [(3, 3, 1, 8), (3, 3, 8, 16)], after=pool)


@_family
def transposed(name: str) -> Family:
    def init(key: jax.Array) -> Params:
        one, two, three = jax.random.split(key, 3)
        return _matrix(one, 16, 4 * 4 * 8), _matrix(two, 3, 3, 8, 8), _matrix(three, 3, 3, 8, 1)

    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        h = jax.nn.relu(x @ p[0]).reshape(-1, 4, 4, 8)
        for kernel in p[1:]:
            h = lax.conv_transpose(jax.nn.relu(h), kernel, (2, 2), "SAME")
        return _squares(h, y)

    return Family(name, init, loss, _floats(16), _floats(16, 16, 1), lanes=8, steps=10)


# -- science ----------------------------------------------------------------------------------------------------------


@_family
def neural_ode(name: str) -> Family:
    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        field = lambda h: _dense(p, h, jnp.tanh)

        def step(h: jax.Array, _: None) -> tuple[jax.Array, None]:
            one = field(h)
            two = field(h + 0.05 * one)
            three = field(h + 0.05 * two)
            return h + (one + 2 * two + 2 * three + field(h + 0.1 * three)) / 60, None

        return _squares(lax.scan(step, x, None, length=8)[0], y)

    return Family(name, _layers([4, 32, 4]), loss, _floats(4), _floats(4), steps=30)


@_family
def pinn(name: str) -> Family:
    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        u = lambda t: _dense(p, t[None], jnp.tanh)[0]
        second = jax.vmap(jax.grad(jax.grad(u)))(x)
        return jnp.mean((second + jax.vmap(u)(x)) ** 2) + (u(jnp.zeros(())) - 1) ** 2

    return Family(name, _layers([1, 32, 32, 1]), loss, _floats(), _floats(), steps=30)


@_family
def gaussian_process(name: str) -> Family:
    def init(key: jax.Array) -> Params:
        return {"length": jnp.zeros(3), "noise": jnp.full((), -1.0)}

    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        scaled = x * jnp.exp(p["length"])
        squares = jnp.sum((scaled[:, None] - scaled[None]) ** 2, -1)
        factor = jnp.linalg.cholesky(jnp.exp(-squares / 2) + (1e-3 + jnp.exp(p["noise"])) * jnp.eye(len(x)))
        solved = jax.scipy.linalg.solve_triangular(factor, y, lower=True)
        return (solved @ solved) / 2 + jnp.log(jnp.diag(factor)).sum()

    return Family(name, init, loss, _floats(3), _floats(), steps=30)


@_family
def graph_net(name: str) -> Family:
    edges = (_draws.random((16, 16)) < 0.2).astype(np.float32) + np.eye(16, dtype=np.float32)
    mean = jnp.asarray(edges / edges.sum(1, keepdims=True))

    def loss(p: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        for w, b in p[:-1]:
            x = jax.nn.relu(jnp.einsum("nm,bmd->bnd", mean, x) @ w + b)
        return _entropy(x.mean(1) @ p[-1][0] + p[-1][1], y)

    return Family(name, _layers([8, 32, 32, 10]), loss, _floats(16, 8), _classes(), lanes=16, steps=30)
