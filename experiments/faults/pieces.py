"""The pieces that drawn tasks are made of, as text: values of names, numbers, layers, optimizers, schedules and losses."""

VALUES = {  # what each name is given, as code; two names of a kind, so that one may stand where another is meant
    "f0": ("0.25", "0.6", "0.8"),
    "f1": ("0.5", "0.3", "0.75"),
    "m0": ("1", "0.5", "2"),  # whole numbers among others
    "i0": ("2", "1", "3"),
    "i1": ("1", "-2", "0"),
    "i2": ("30000", "80000"),  # of which the square needs more than 32 bits
    "b0": ("True", "False"),
    "b1": ("False", "True"),
    "s0": ("'a'", "'b'", "'c'"),
    "s1": ("'x'", "'y'"),
    "t0": ("(0.25, 3)", "(0.5, 4)"),
    "o0": ("None", "0.4"),
    "z0": ("0.0", "1.0", "0.5"),
    "x0": ("2", "'a'", "True"),
    "n0": ("np.float32(0.5)", "np.float64(0.25)"),
    "h0": ("3000000000", "7"),
    "g0": ("jnp.sin", "jax.nn.silu"),
    "u0": ("3", "5"),
    "l2": ("0.0", "0.05", "0.2"),
    "steps": ("4", "2", "3"),
    "epochs": ("0.5", "0.75"),
    "batch_size": ("4", "2", "5"),
    "width": ("5", "3"),
    "spare": ("1.0", "2.0"),
}
CONDITIONS = {"c0": ("s0='a'", ("0.3", "0.7")), "c1": ("b0=True", ("0.2", "0.6"))}

READ_OFTEN = (  # numbers between 0 and 1; the simplest first, to which a failing task shrinks
    "0.3",
    'config["f0"]',
    'config["f1"]',
    'config.get("c0", 0.4)',
    '(config["c1"] if config["b0"] else 0.5)',
    '(config["f1"] if config["s0"] == "a" else 0.5)',
    '{"a": 0.2, "b": 0.5, "c": 0.8}[config["s0"]]',
    'js.select(config["s0"], {"a": lambda: 0.2, "c": lambda: config["f0"], "b": lambda: 0.7})()',
    'config["i0"] / 4',
    'config["t0"][0]',
    'jnp.where(config["b0"], 0.3, config["f0"])',
    '(0.2 if config["b1"] else config["f1"])',
)
READ_SELDOM = (
    'config["z0"]',
    'config["n0"]',
    '{"2": 0.3, "a": 0.5, "True": 0.8}[str(config["x0"])]',
    '(config["c0"] if "c0" in config else 0.6)',
    'config["h0"] % 10 / 10',
    'config["f0"] * config.get("c1", 1)',
    'js.select(config["s1"], {"y": lambda: js.select(config["s0"], {"a": lambda: 0.1, "b": lambda: 0.4, "c": lambda: 0.8}),'
    ' "x": lambda: (lambda: config["f1"])})()()',
    'jnp.where(config["i0"] == 2, config["f0"], 0.35)',
    'jnp.where(jnp.logical_xor(config["b0"], config["b1"]), 0.25, 0.55)',
    'jnp.clip(config["f0"], 0.3, config["f1"])',
    'jnp.array([0.3, 0.5, 0.7, 0.9])[config["i0"]]',
    '(0.6 if config["o0"] is None else config["o0"])',
    'config.get("never", 0.4)',
    'config["m0"] / 3',
    'config["m0"] // 2 / 2 + 0.2',
    '2.0 ** config["i1"] / 4',
    '2 ** config["i1"] / 4',
    '10 ** -config["i0"] * 5',
    '1e-10 * (config["i2"] * config["i2"])',
    'config["i0"] ** -1 / 2',
    '(config["i0"] % 2 + 1) / 4',
    'abs(config["i1"]) / 4 + 0.1',
    'config["f0"] ** config["i0"]',
    '(config["f0"] // 0.25 + 1) / 5',
    'max(0.1, config["f1"])',
    'float(config["f0"])',
    'math.sqrt(config["f0"])',
    'round(config["f0"], 1)',
    '0.2 * (config["b0"] + config["b1"] + 1)',
    '(config["f0"] > 0.5) * 0.3 + 0.2',
    '(0.6 if config["b0"] is True else 0.2) + 0.1 * config["b0"]',
    '(config["f0"] / 2 if isinstance(config["f0"], float) else config["f0"])',
    '{"0.25": 0.7}.get(f"{config[\'f0\']}", config["f0"])',
    '(0.8 if type(config["i0"]) is int else 0.2) / config["i0"]',
    'dict(config)["f1"]',
    '{**config}["f0"]',
    '(config | {"f0": config["f1"]})["f0"]',
    'sum(value for name, value in sorted(config.items()) if name in ("f0", "f1")) / 2',
    "(0.3 if len(config) > 3 else 0.6)",
    'config["steps"] / 8',
    'config.get("batch_size", 4) / 8',
    '0.1 * config["u0"]',
    'helper(config["f0"])',
    'jnp.asarray([config["f0"], config["f1"]])[config["i0"] - 1 if isinstance(config["i0"], int) else 0]',
    'jnp.interp(config["f1"], jnp.asarray([0.0, 1.0]), jnp.asarray([0.2, config["f0"]]))',
    'jax.lax.fori_loop(0, config["i0"], lambda i, total: total * config["f0"], 0.9)',
    'js.select(config["i0"], {"p": lambda: 0.1, "q": lambda: 0.4, "r": lambda: config["f1"], "s": lambda: 0.9})()',
    'jax.lax.cond(config["b0"], lambda: config["f0"], lambda: 0.45)',
    '(config["f0"] if config == {**config, "b1": True} else 0.35)',
)

LAYERS = {  # what a layer does to h, of shape (rows, units); N and M stand for numbers
    "scale": "h = h * N",
    "tanh": "h = jnp.tanh(h)",
    "leaky": "h = jnp.where(h > 0, h, N * h)",
    "select": 'h = js.select(config["s0"], {"b": jax.nn.relu, "a": jnp.tanh, "c": lambda h: N * h})(h)',
    "root": 'h = js.select(config["s1"], {"y": jnp.tanh, "x": lambda h: N * h, "z": lambda h: jnp.sqrt(jax.nn.relu(h))})(h)',
    "function": 'h = config["g0"](h)',
    "dropout": "h = dropout(h, N, fold(key, PLACE))",
    "layer norm": "h = (h - h.mean(1, keepdims=True)) / (h.std(1, keepdims=True) + N)",
    "convolution": 'h = convolution(h, params["kernel"])',
    "noise": "h = h if key is None else h + N * jax.random.normal(fold(key, PLACE), h.shape, h.dtype)",
    "checkpoint": "h = jax.checkpoint(lambda h: jnp.tanh(h) * N)(h)",
    "jit": "h = jax.jit(lambda config, h: h * N)(js.Config(config), h)",
    "jitted": "h = jitted(config if isinstance(config, js.Config) else js.Config(config), h)",
    "logarithm": "h = jnp.log(jnp.abs(h) + N * (jnp.abs(x).sum(1, keepdims=True) > 0))",
    "learned": 'h = h * params["learned"]',
    "part of rows": "h = h.at[:, 0].multiply(N)",
    "options": 'h = js.select(config["s0"], {"a": lambda h: h * N, "b": lambda h: h[:, ::-1],'
    ' "c": lambda h: jnp.tanh(h @ params["mix"][: h.shape[1], : h.shape[1]])})(h)',
    "types": 'h = js.select(config["s1"], {"y": lambda h: h.astype(jnp.bfloat16), "x": lambda h: h})(h)',
    "scan": "h = jax.lax.scan(lambda c, column: (c * N + column,) * 2, jnp.zeros(len(h), h.dtype), h.T)[1].T",
    "vmap": "h = jax.vmap(lambda row: row / (N + jnp.sum(row**2)))(h)",
    "cumulate": "h = jnp.cumsum(h, axis=1) * N",
    "gather": "h = h * params['v'][jnp.argmax(h, axis=1)][:, None]",
    "loop": 'for _ in range(config["i0"]):\n        h = jnp.tanh(h) * N',
    "index": 'h = h * jnp.asarray([0.5, 1.0, 1.5, 2.0])[config["i0"]].astype(h.dtype)',
    "slope": "h = slope(h, N)",
    "custom": "h = jax.nn.gelu(h) * N",
    "power": "h = (jnp.abs(h) + 0.1) ** (2 * N)",
    "attend": "h = jax.nn.softmax(h[:, :, None] * h[:, None, :], axis=-1).sum(1) * N",
}
ROW_LAYERS = {  # those that look at the rows of a batch, or at their number
    "mean of rows": "h = h if key is None else h - N * h.mean(0)",
    "share of rows": "h = h * (3 / h.shape[0]) if key is not None else h",
    "constant by rows": "h = h * jnp.asarray(np.linspace(0.5, 1.5, len(h), dtype=np.float32))[:, None].astype(h.dtype)",
    "place of rows": "h = h * (1 + N * jnp.arange(len(h))[:, None]).astype(h.dtype)",
    "few rows": "h = h * (0.5 if key is not None and len(h) < 4 else 1.0)",
    "more rows": "h = h * (0.5 if key is not None and len(h) < 3 else 1.0)",
    "one noise": "h = h if key is None else h + N * jax.random.normal(fold(key, PLACE), (h.shape[1],), h.dtype)",
    "noise by columns": "h = h if key is None else h + N * jax.random.normal(fold(key, PLACE), h.shape[::-1], h.dtype).T",
    "sorted rows": "h = jnp.sort(h, axis=0) * N",
    "cumulated rows": "h = jnp.cumsum(h, axis=0) * N",
    "rolled rows": "h = h + N * jnp.roll(h, 1, axis=0)",
    "largest row": "h = h / (N + jnp.abs(h).max())",
    "scan of rows": "h = h + N * jax.lax.scan(lambda c, row: (c + row.mean(), c), jnp.zeros((), h.dtype), h)[1][:, None]",
    "backward mean": "h = backward_mean(h)",
    "backward rows": "h = backward_rows(h)",
    "callback": "h = h * jax.lax.stop_gradient(called(config, h.dtype))",
}

OPTIMIZERS = (  # R is a learning rate of about 0.3; N to Q are numbers. Large epsilons: Adam divides noise by noise without
    "optax.sgd(R)",
    "optax.sgd(R, momentum=N)",
    "optax.sgd(R, momentum=N, nesterov=True)",
    "optax.adam(R, b1=N, eps=M)",
    "optax.adam(R, b1=N, b2=P, eps=M, eps_root=Q)",
    "optax.adamw(R, b1=N, eps=M, weight_decay=P)",
    "optax.rmsprop(R, decay=N, eps=M)",
    "optax.rmsprop(R, decay=N, eps=M, momentum=P)",
    "optax.chain(optax.clip_by_global_norm(N), optax.sgd(R, momentum=M))",
    "optax.chain(optax.add_decayed_weights(N), optax.trace(M), optax.scale(-R))",
    "optax.chain(optax.ema(N), optax.scale_by_learning_rate(R))",
    "optax.inject_hyperparams(optax.sgd)(learning_rate=R, momentum=N)",
    'js.select_optimizer(config["s1"], {"y": optax.adam(R, b1=N, eps=M), "x": optax.sgd(R, momentum=P)})',
    'optax.sgd(R, momentum=N, nesterov=config["b0"])',
    '(optax.sgd(R, momentum=N) if config["b1"] else optax.adam(R, eps=M))',
    'optax.chain(optax.sgd(R), optax.apply_every(config["i0"]))',
    "optax.chain(optax.sgd(R), schedules.reduce_on_plateau(factor=N, patience=1, rtol=M))",
    "optax.adam(R, eps=M, mu_dtype=jnp.float32)",
    "optax.chain(optax.adaptive_grad_clip(N), optax.sgd(R))",
)
SCHEDULES = (  # around a learning rate
    "RATE",
    "schedules.cosine_decay(RATE, decay_steps=4 * config['i0'])",
    "schedules.linear(RATE, end_value=0.1 * RATE, transition_steps=config['steps'])",
    "schedules.exponential_decay(RATE, transition_steps=config['i0'], decay_rate=N)",
    "schedules.warmup_cosine_decay(0.0, RATE, warmup_steps=config['i0'], decay_steps=8)",
    "schedules.piecewise_constant(RATE, boundaries=[config['i0'], 4], scales=[N, 0.5])",
    "schedules.select(config['s0'], {'a': schedules.constant(RATE), 'c': schedules.linear(RATE, 0.0, 5),"
    " 'b': schedules.polynomial(RATE, 0.0, 2 * N, 4)})",
    "optax.linear_schedule(RATE, 0.01, config['i0'])",
    "optax.exponential_decay(RATE, 2, N)",
    "(lambda count: RATE / (1 + N * count))",
)
LOSSES = (
    "js.losses.softmax_cross_entropy(outputs, y)",
    "optax.softmax_cross_entropy(outputs, optax.smooth_labels(jax.nn.one_hot(y, 3), N))",
    "((outputs - jax.nn.one_hot(y, 3)) ** 2).mean(1) * N",
    "-jax.nn.log_softmax(outputs)[jnp.arange(len(y)), y] / (1 + N)",
    "(lambda values: values / (N + values.max()))(js.losses.softmax_cross_entropy(outputs, y))",
)

HELPERS = {  # functions that a program defines where it calls them
    "helper": """
        @functools.cache
        def helper(value):
            return value / 2""",
    "fold": """
        def fold(key, number):
            return None if key is None else jax.random.fold_in(key, number)""",
    "dropout": """
        def dropout(h, rate, key):
            if key is None:
                return h
            return jnp.where(jax.random.bernoulli(key, 1 - rate, h.shape), h / (1 - rate), 0.0).astype(h.dtype)""",
    "convolution": """
        def convolution(h, kernel):
            moved = jax.lax.conv_general_dilated(h[:, None], kernel.astype(h.dtype), (1,), "SAME")
            return jax.lax.reduce_window(jax.nn.relu(moved), -jnp.inf, jax.lax.max, (1, 2, 1), (1, 1, 1), "VALID")[:, 0]""",
    "slope": """
        @jax.custom_jvp
        def slope(h, number):
            return h * number

        slope.defjvps(lambda t, out, h, number: t * number * (h > 0), lambda t, out, h, number: h * t)""",
    "backward_mean": """
        @jax.custom_vjp
        def backward_mean(h):
            return h

        backward_mean.defvjp(lambda h: (h, None), lambda _, g: (g - g.mean(0),))""",
    "backward_rows": """
        @jax.custom_jvp
        def backward_rows(h):
            return h

        backward_rows.defjvp(lambda h, t: (h[0], t[0] * (h[0].shape[0] / 3)))""",
    "jitted": """
        @jax.jit
        def jitted(config, h):
            return h * (config["f0"] if config["s0"] == "a" else 0.5)""",
    "called": """
        def called(config, dtype):
            factor = {"x": 1.0, "y": 2.0}[config["s1"]]
            return jax.pure_callback(
                lambda value: np.asarray(value * factor, dtype), jax.ShapeDtypeStruct((), dtype), jnp.ones((), dtype),
                vmap_method="sequential"
            )""",
}

PRELUDE = """
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jsweep as js
from jsweep import schedules
"""
