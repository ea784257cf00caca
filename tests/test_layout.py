"""A step rewritten for the CPU computes the same as before, in the memory layout it is meant to have."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jsweep.engine.layout import loop_body, optimize_layout

DRAWS = np.random.default_rng(0)


def normal(*shape, dtype=np.float32):
    return jnp.asarray(DRAWS.normal(size=shape), dtype)


def perceptron(*sizes):
    """Loss and gradients of a perceptron on a batch of integer classes, over four lanes."""
    params = [{"w": normal(4, n, m) / n**0.5, "b": normal(4, m)} for n, m in itertools.pairwise(sizes)]

    def loss(params, x, y):
        for layer in params[:-1]:
            x = jax.nn.tanh(x @ layer["w"] + layer["b"])
        outputs = x @ params[-1]["w"] + params[-1]["b"]
        hot = y[:, None] == jnp.arange(sizes[-1])
        return (jax.nn.logsumexp(outputs, axis=1) - jnp.where(hot, outputs, 0.0).sum(1)).mean()

    return jax.value_and_grad(loss), params


def rows(size):
    return normal(4, 48, size), jnp.asarray(DRAWS.integers(0, 10, (4, 48)))


def residual(params, x, y):
    """Normalised residual blocks with attention over a few tokens, as in a transformer."""
    one, two = params
    for _ in range(2):
        normed = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
        q, k, v = jnp.split(normed @ one, 3, axis=-1)
        x = x + jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", q, k)) @ v
        x = x + jax.nn.relu(x @ two) @ two.T
    return ((x.mean((1, 2)) - y) ** 2).sum()


def convolved(strides, padding, numbers, **options):
    def loss(kernels, x):
        x = jnp.tanh(
            jax.lax.conv_general_dilated(x, kernels[0], strides, padding, dimension_numbers=numbers, **options)
        )
        x = jax.lax.conv_general_dilated(x, kernels[1], (1,) * len(strides), padding, dimension_numbers=numbers)
        return jnp.square(x).mean()

    return jax.grad(loss, argnums=(0, 1))


def recurrent(params, x, y):
    """The state after the rows of a few steps, stopped early by a loop of its own, and the loss that it makes."""
    inwards, across, out = params

    def step(state, row):
        state = jnp.tanh(row @ inwards + state @ across)
        return jax.lax.cond(state.sum() > 0, lambda s: s @ across, lambda s: s * 0.5, state), state

    last, states = jax.lax.scan(step, jnp.zeros((len(y), across.shape[0])), x)
    return optax.squared_error((last + states.mean(0)) @ out[:, 0], y).mean()


def checkpointed(loss):
    """``loss`` of a layer whose activations are recomputed in the backward pass."""

    def function(params, x, y):
        one, two = params
        inner = jax.checkpoint(lambda w, x: jnp.tanh(x @ w) @ jnp.cos(w.T))
        return loss(inner(two, inner(one, x)), y)

    return function


def pooled(window, strides, padding):
    weights = normal(4, 9, 8, 3)

    def loss(x):
        found = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)
        return (found * weights[:, : found.shape[1], : found.shape[2]]).sum()

    return loss


def of_all_kinds(x, n, key):
    """Calls, loops, branches, sorting, indices and random numbers, which are not to be changed."""
    narrow = x @ x[:8].T
    by_call = jax.jit(lambda a: jax.nn.silu(a) * 2)(narrow)
    total, parts = jax.lax.scan(lambda c, row: (c + row.sum(), row @ row), 0.0, by_call)
    chosen = jax.lax.cond(n > 1, lambda a: a + 1, lambda a: a * 2, narrow)
    looped = jax.lax.fori_loop(0, n, lambda i, a: a @ a.T[:, :8] * 0.1, chosen)
    noise = jax.random.bernoulli(key, 0.5, narrow.shape) * jax.random.normal(key, narrow.shape)
    return {
        "sorted": jnp.sort(looped, axis=0),
        "best": jnp.argmax(narrow + noise, axis=0),
        "transposed": jnp.transpose(jnp.exp(narrow * 0.1), (1, 0)),
        "clipped": jnp.clip(narrow, -1.0, 1.0)[::2],
        "total": total,
        "parts": parts,
        "given": x,
        "literal": 3,
        "none": None,
    }


def vmapped(function, *shared):
    return lambda *args: jax.vmap(function, in_axes=tuple(None if i in shared else 0 for i in range(len(args))))(*args)


def cases():
    for sizes in ([64, 16, 10], [12, 10, 7, 10], [40, 64, 64, 10], [8, 100, 3, 50, 10], [200, 16, 10]):
        gradients, params = perceptron(*sizes)
        yield f"perceptron {sizes}", vmapped(gradients), (params, *rows(sizes[0]))
        x, y = rows(sizes[0])
        yield f"shared batch {sizes}", vmapped(gradients, 1, 2), (params, x[0], y[0])
        yield f"one lane {sizes}", gradients, (jax.tree.map(lambda a: a[0], params), x[0], y[0])
    blocks = (normal(3, 8, 24) / 4, normal(3, 8, 16) / 4)
    yield "residual blocks", vmapped(jax.grad(residual)), (blocks, normal(3, 40, 5, 8), normal(3, 40))
    last, first = ("NHWC", "HWIO", "NHWC"), ("NCHW", "OIHW", "NCHW")
    kernels = (normal(3, 3, 2, 6), normal(3, 2, 6, 4))
    yield "convolutions", convolved((1, 1), "SAME", last), (kernels, normal(9, 8, 7, 2))
    yield "strided convolutions", convolved((2, 3), "VALID", last), (kernels, normal(5, 16, 15, 2))
    yield "dilated convolutions", convolved((1, 2), "SAME", last, rhs_dilation=(2, 1)), (kernels, normal(5, 16, 15, 2))
    lanes = jax.tree.map(lambda k: jnp.stack([k, 2 * k, -k]), kernels)
    yield "convolutions in lanes", vmapped(convolved((1, 1), "SAME", last)), (lanes, normal(3, 9, 8, 7, 2))
    volumes, deep = ("NDHWC", "DHWIO", "NDHWC"), (normal(3, 2, 3, 2, 6), normal(2, 3, 3, 6, 4))
    for name, strides, padding, options in (
        ("", (1, 1, 1), "SAME", {}),
        ("strided ", (2, 1, 2), "VALID", {}),
        ("dilated ", (1, 1, 1), "SAME", {"rhs_dilation": (2, 1, 2)}),
        ("transposed ", (1, 1, 1), [(2, 1), (1, 1), (1, 0)], {"lhs_dilation": (2, 2, 1)}),
    ):
        of_volumes = convolved(strides, padding, volumes, **options)
        yield f"{name}convolutions of volumes", of_volumes, (deep, normal(3, 7, 8, 9, 2))
        in_lanes = tuple(jnp.stack([kernel, 2 * kernel, -kernel]) for kernel in deep)
        yield f"{name}convolutions of volumes in lanes", vmapped(of_volumes), (in_lanes, normal(3, 3, 7, 8, 9, 2))
    grouped = convolved((1, 1), "SAME", first, feature_group_count=2)
    yield "channels first, in groups", grouped, ((normal(6, 1, 3, 3), normal(4, 6, 3, 3)), normal(5, 2, 8, 8))
    along = lambda k, x: jax.lax.conv_transpose(x, k, (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
    yield "transposed convolution", along, (normal(3, 4, 5), normal(6, 9, 4))
    weights = (normal(3, 6, 12) / 2, normal(3, 12, 12) / 4, normal(3, 12, 1))
    yield "recurrent in lanes", vmapped(jax.grad(recurrent)), (weights, normal(3, 7, 40, 6), normal(3, 40))
    one = jax.tree.map(lambda w: w[0], weights)
    yield "recurrent", jax.value_and_grad(recurrent), (one, normal(7, 40, 6), normal(40))
    recomputed = vmapped(jax.grad(checkpointed(lambda outputs, y: jnp.square(outputs.sum(1) - y).mean())))
    yield (
        "recomputed",
        recomputed,
        ((normal(3, 12, 7) / 3, normal(3, 12, 70) / 3), normal(3, 40, 12), normal(3, 40)),
    )
    ties = jnp.asarray(DRAWS.integers(0, 3, (4, 9, 8, 3)), jnp.float32)
    for name, window, strides, padding in (
        ("", (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
        (" that overlaps", (1, 3, 3, 1), (1, 2, 2, 1), "VALID"),
        (" past the edge", (1, 2, 2, 1), (1, 2, 2, 1), "SAME"),
    ):
        yield f"pooling{name}", jax.grad(pooled(window, strides, padding)), (ties,)
        yield f"pooling{name} in lanes", vmapped(jax.grad(pooled(window, strides, padding))), (normal(3, 4, 9, 8, 3),)
    for n in (0, 3):
        yield f"other operations {n}", of_all_kinds, (normal(40, 8), jnp.int32(n), jax.random.key(n))
    in_lanes = vmapped(lambda x, key: of_all_kinds(x, 2, key)["best"])
    yield "other operations in lanes", in_lanes, (normal(3, 40, 8), jax.random.split(jax.random.key(0), 3))
    yield (
        "half precision",
        lambda a, b: jnp.tanh(a @ b),
        (normal(40, 8, dtype=np.float16), normal(8, 4, dtype=np.float16)),
    )
    two = jax.lax.DotAlgorithmPreset.F32_F32_F32
    yield "an algorithm", lambda a, b: jnp.tanh(jnp.matmul(a, b, precision=two)), (normal(40, 8), normal(8, 4))
    uneven = (jax.lax.Precision.HIGHEST, jax.lax.Precision.DEFAULT)
    yield "two precisions", lambda a, b: jnp.tanh(jnp.matmul(a, b, precision=uneven)), (normal(40, 8), normal(8, 4))
    deep = lambda a, b, c: (
        jnp.tanh(jnp.einsum("labc,lbd->ladc", a, b)) * jnp.einsum("labc,lcbd->lacd", a, c).swapaxes(2, 3)
    )
    yield "products of many axes", deep, (normal(2, 30, 4, 5), normal(2, 4, 3), normal(2, 5, 4, 3))


@pytest.mark.parametrize(("function", "args"), [case[1:] for case in cases()], ids=[case[0] for case in cases()])
def test_a_rewritten_step_computes_the_same(function, args):
    expected, found = function(*args), jax.jit(optimize_layout(function))(*args)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        b = np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, jnp.asarray(b).dtype)
        if b.dtype.kind == "f":
            scale = max(1e-6, float(np.abs(b).max()))
            np.testing.assert_allclose(np.asarray(a) / scale, b / scale, atol=2e-3 if b.dtype == np.float16 else 2e-6)
        else:
            np.testing.assert_array_equal(a, b)


def test_double_precision_is_not_rewritten():
    with jax.enable_x64(True):
        function = lambda a, b: jnp.tanh(a @ b)
        args = normal(40, 8, dtype=np.float64), normal(8, 4, dtype=np.float64)
        found = jax.jit(optimize_layout(function))(*args)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, function(*args), rtol=1e-12)


def lowered(function, *args):
    return jax.jit(optimize_layout(function)).lower(*args).as_text()


def products_of(text):
    """The contracted axis and the shape of each product's first operand."""
    found = re.findall(r"dot_general .*contracting_dims = \[(\d)\] x \[\d\].*: \(tensor<([0-9x]+)xf32>", text)
    return [(int(summed), shape.split("x")) for summed, shape in found]


def test_narrow_activations_have_their_examples_last():
    gradients, params = perceptron(64, 16, 10)
    text = lowered(vmapped(gradients), params, *rows(64))
    assert set(re.findall(r"stablehlo.(?:exponential|tanh) .*tensor<([0-9x]+)xf32>", text)) == {"4x10x48", "4x16x48"}


def test_wide_activations_stay_in_default_layout():
    gradients, params = perceptron(64, 64, 10)
    text = lowered(vmapped(gradients), params, *rows(64))
    assert set(re.findall(r"stablehlo.tanh .*tensor<([0-9x]+)xf32>", text)) == {"4x48x64"}


@pytest.mark.parametrize("sizes", [[64, 16, 10], [30, 128, 10], [12, 10, 7, 10]])
def test_narrow_products_contract_the_last_axis_of_their_first_operand(sizes):
    gradients, params = perceptron(*sizes)
    text = lowered(vmapped(gradients), params, *rows(sizes[0]))
    products = products_of(text)
    assert len(products) == 3 * (len(sizes) - 1) - 1
    assert all(summed == len(shape) - 1 for summed, shape in products)


def test_wide_lanes_that_share_a_batch_multiply_it_lane_by_lane():
    gradients, params = perceptron(64, 48, 32)
    x, y = rows(64)
    found = re.findall(r"dot_general .*-> tensor<([0-9x]+)xf32>", lowered(vmapped(gradients, 1, 2), params, x[0], y[0]))
    assert sorted(found) == ["4x48x32", "4x48x32", "4x48x48", "4x48x48", "4x64x48"]


def test_products_in_loops_are_rewritten():
    weights = (normal(3, 6, 12), normal(3, 12, 12), normal(3, 12, 1))
    text = lowered(vmapped(jax.grad(recurrent)), weights, normal(3, 7, 40, 6), normal(3, 40))
    assert len(products_of(text)) > 6
    assert all(summed == len(shape) - 1 for summed, shape in products_of(text))


def test_products_that_checkpointing_recomputes_are_rewritten():
    gradients = vmapped(jax.grad(checkpointed(lambda outputs, y: jnp.square(outputs.sum(1) - y).mean())))
    text = lowered(gradients, (normal(3, 12, 7), normal(3, 12, 70)), normal(3, 40, 12), normal(3, 40))
    assert "optimization_barrier" in text
    assert len(products_of(text)) > 8
    assert all(summed == len(shape) - 1 for summed, shape in products_of(text))


def test_convolutions_have_the_layout_with_a_fast_kernel():
    numbers = ("NCHW", "OIHW", "NCHW")
    kernels = (normal(6, 2, 3, 3), normal(4, 6, 3, 3))
    text = lowered(convolved((1, 1), "SAME", numbers), kernels, normal(9, 2, 8, 7))
    orders = re.findall(r"dim_numbers = (\[.*?\]x\[.*?\]->\[.*?\])", text)
    assert len(orders) == 6  # two forwards, and the gradients of both with respect to both operands
    assert set(orders) == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}


def test_max_pooling_without_overlap_scatters_nothing():
    grad = lambda strides: jax.grad(pooled((1, 2, 2, 1), strides, "VALID"))
    assert "select_and_scatter" not in lowered(grad((1, 2, 2, 1)), normal(4, 9, 8, 3))
    assert "select_and_scatter" in lowered(grad((1, 1, 1, 1)), normal(4, 9, 8, 3))


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 1)])
def test_a_nan_in_a_pooling_window_does_not_stop_the_gradient(place):
    x = jnp.arange(16.0).reshape(1, 4, 4, 1).at[0, *place, 0].set(jnp.nan)
    loss = lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID").sum()
    np.testing.assert_array_equal(jax.jit(optimize_layout(jax.grad(loss)))(x), jax.grad(loss)(x))


def test_a_loop_that_writes_to_a_reference_is_left_as_it_is():
    def function(x):
        total = jax.new_ref(jnp.zeros(x.shape))

        def body(i, carry):
            total[...] += x * i
            return carry + 1

        rounds = jax.lax.fori_loop(0, 3, body, 0)
        return total[...] + rounds

    def branching(x):
        total = jax.new_ref(x)
        jax.lax.cond(x.sum() > 0, lambda: total.__setitem__(..., total[...] * 2), lambda: None)
        return total[...]

    x = jnp.abs(normal(4))
    np.testing.assert_allclose(jax.jit(optimize_layout(branching))(x), 2 * x, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(optimize_layout(function))(x), function(x), rtol=1e-6)
    both = jnp.stack([x, -x])
    np.testing.assert_allclose(jax.jit(optimize_layout(jax.vmap(function)))(both), jax.vmap(function)(both), rtol=1e-6)


def test_effects_stay_and_unused_operations_are_left_out():
    seen = []

    def function(x):
        jax.debug.callback(lambda v: seen.append(float(v)), x.sum())
        jnp.sort(x * 2)
        return x + 1

    written = jax.jit(optimize_layout(function))
    assert "stablehlo.sort" not in written.lower(jnp.ones(3)).as_text()
    written(jnp.ones(3)).block_until_ready()
    jax.effects_barrier()
    assert seen == [3.0]


def test_a_step_with_an_optimizer_is_rewritten():
    """Adam with clipping and weight decay on a perceptron: states and counts beside arrays."""
    gradients, params = perceptron(30, 12, 10)
    transform = optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(1e-2, weight_decay=0.1))

    def step(params, state, x, y):
        loss, found = gradients(params, x, y)
        updates, state = transform.update(found, state, params)
        return optax.apply_updates(params, updates), state, loss

    args = (params, jax.vmap(transform.init)(params), *rows(30))
    expected, found = jax.vmap(step)(*args), jax.jit(optimize_layout(jax.vmap(step)))(*args)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("mode", ["fill", "clip", "promise_in_bounds"])
def test_the_logit_of_a_label_is_the_one_that_indexing_gives(mode):
    """For labels out of range, where some logits are infinite or NaN, and in the gradient."""
    logits = normal(4, 40, 7).at[0, 0, 3].set(jnp.nan).at[1, 1].set(-jnp.inf)
    labels = np.random.default_rng(0).integers(0, 7, (4, 40)).astype(np.int32)
    if mode != "promise_in_bounds":
        labels[2, :4] = (-1, 7, 100, -8)

    def picked(x, y):
        return jnp.take_along_axis(x, y[:, None], 1, mode=mode)[:, 0]

    grad = lambda x, y: jax.grad(lambda x: (picked(x, y) ** 2).sum())(x)
    for function in (picked, grad):
        found = jax.jit(optimize_layout(jax.vmap(function)))(logits, labels)
        np.testing.assert_array_equal(found, jax.vmap(function)(logits, labels))
        text = lowered(jax.vmap(function), logits, labels)
        assert "stablehlo.scatter" not in text
        assert not re.findall(r"gather.*tensor<4x40x7xf32>", text)


def test_optax_s_cross_entropy_of_few_classes_has_its_examples_last():
    def loss(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(x @ params, y).mean()

    args = normal(4, 64, 10), normal(4, 48, 64), jnp.zeros((4, 48), jnp.int32)
    text = lowered(jax.vmap(jax.grad(loss)), *args)
    assert set(re.findall(r"stablehlo.exponential .*tensor<([0-9x]+)xf32>", text)) == {"4x10x48"}


@pytest.mark.parametrize("sizes", [[64, 10], [64, 16, 10], [12, 10, 7, 10], [30, 128, 10]])
def test_a_loop_in_the_layouts_of_its_state_computes_the_same(sizes):
    gradients, params = perceptron(*sizes)
    transform = optax.adamw(1e-2)

    def step(state, x, y, rate):
        params, inner, unchanged = state
        loss, found = gradients(params, x, y)
        updates, inner = transform.update(found, inner, params)
        updates = jax.tree.map(lambda u: rate * u, updates)
        return (optax.apply_updates(params, updates), inner, unchanged), {"loss": loss}

    state, data = (params, jax.vmap(transform.init)(params), normal(4, 5, 3)), rows(sizes[0])
    rate = jnp.linspace(0.1, 1.0, 4)
    loop = loop_body(jax.vmap(step), state, *data, rate)
    stored, expected = loop.stored(state), state
    for _ in range(3):
        stored, metrics = jax.jit(loop.step)(stored, *data, rate)
        expected, plain = jax.vmap(step)(expected, *data, rate)
        np.testing.assert_allclose(metrics["loss"], plain["loss"], rtol=1e-5)
    found = loop.restored(stored)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_weights_of_few_outputs_are_not_transposed_in_a_loop():
    def step(params, x, y):
        loss = lambda params: jnp.mean((jnp.tanh(x @ params) - y) ** 2)
        return params - 0.1 * jax.grad(loss)(params), {}

    weights, x, y = normal(4, 64, 10), normal(4, 48, 64), normal(4, 48, 10)
    loop = loop_body(jax.vmap(step), weights, x, y)
    assert loop.of_state == [(0, 2, 1)]
    text = jax.jit(loop.step).lower(loop.stored(weights), x, y).as_text()
    assert not re.findall(r"transpose.*tensor<4x(64x10|10x64)xf32>", text)
    assert loop_body(jax.vmap(step), normal(4, 64, 40), x, normal(4, 48, 40)).of_state == [(0, 1, 2)]
