"""The models in plain JAX: pytrees of arrays and functions."""

import jax
import jax.numpy as jnp
import optax
from contestants.workloads import CLASSES, Workload


def make(w: Workload):
    """``init(key) -> params`` and ``apply(params, x) -> logits`` for x of shape (batch, 64)."""
    return {"mlp": _mlp, "cnn": _cnn, "transformer": _transformer}[w.model](w.width)


def optimizer(w: Workload, rate):
    return optax.sgd(rate, momentum=0.9) if w.optimizer == "sgd" else optax.adam(rate)


def _dense(key, n, m):
    return {"w": jax.random.normal(key, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)}


def _mlp(width):
    sizes = [64, width, width, CLASSES]

    def init(key):
        return [_dense(k, n, m) for k, n, m in zip(jax.random.split(key, 3), sizes[:-1], sizes[1:])]

    def apply(params, x):
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["w"] + layer["b"])
        return x @ params[-1]["w"] + params[-1]["b"]

    return init, apply


def _cnn(width):
    def init(key):
        one, two, three = jax.random.split(key, 3)
        return {
            "one": jax.random.normal(one, (3, 3, 1, width)) * jnp.sqrt(2 / 9),
            "two": jax.random.normal(two, (3, 3, width, 2 * width)) * jnp.sqrt(2 / (9 * width)),
            "out": _dense(three, 64 * 2 * width, CLASSES),
        }

    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def apply(params, x):
        x = jax.nn.relu(convolve(x.reshape(-1, 8, 8, 1), params["one"]))
        x = jax.nn.relu(convolve(x, params["two"]))
        return x.reshape(x.shape[0], -1) @ params["out"]["w"] + params["out"]["b"]

    return init, apply


def _transformer(d):
    heads, layers = 4, 2

    def init(key):
        keys = iter(jax.random.split(key, 2 + 4 * layers))
        params = {"in": _dense(next(keys), 8, d), "out": _dense(next(keys), d, CLASSES), "layers": []}
        for _ in range(layers):
            names = ("qkv", "mix", "up", "down")
            shapes = ((d, 3 * d), (d, d), (d, 2 * d), (2 * d, d))
            params["layers"].append({n: _dense(next(keys), *s) for n, s in zip(names, shapes)})
        return params

    def normed(x):
        return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)

    def dense(p, x):
        return x @ p["w"] + p["b"]

    def attend(p, x):
        q, k, v = (t.reshape(*t.shape[:2], heads, d // heads) for t in jnp.split(dense(p["qkv"], x), 3, -1))
        weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / jnp.sqrt(d / heads))
        return dense(p["mix"], jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(x.shape))

    def apply(params, x):
        x = dense(params["in"], x.reshape(-1, 8, 8))
        for p in params["layers"]:
            x = x + attend(p, normed(x))
            x = x + dense(p["down"], jax.nn.relu(dense(p["up"], normed(x))))
        return dense(params["out"], normed(x).mean(1))

    return init, apply
