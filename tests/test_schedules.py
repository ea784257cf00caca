"""Schedules against their definitions in float64 NumPy, against optax, and against themselves when traced."""

import itertools
import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jsweep as js
from jsweep import schedules as s

quick = settings(deadline=None, max_examples=40, derandomize=True)
COUNTS = np.unique(np.concatenate([np.arange(0, 60), np.arange(60, 1300, 37), [999, 1000, 1001, 5000, 20000]]))


def nice(rng, low, high):
    """A random number that float32 holds exactly, so that a comparison in float64 is of the formula alone."""
    return float(np.float32(np.round(rng.uniform(low, high) * 1024) / 1024))


def values(schedule, counts=COUNTS):
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(counts)), np.float64)


# -- references: each framework's documented definition, in float64 ------------------------------------------------


def step_lr(rng):
    lr, size, gamma = nice(rng, 0.01, 1), int(rng.integers(2, 200)), nice(rng, 0.3, 0.95)
    return s.step_decay(lr, size, gamma), lambda t: lr * gamma ** (t // size)


def multi_step_lr(rng):
    lr, gamma = nice(rng, 0.01, 1), nice(rng, 0.1, 0.9)
    milestones = sorted(int(m) for m in rng.choice(1000, 3, replace=False) + 1)
    return s.multi_step(lr, milestones, gamma), lambda t: lr * gamma ** sum(t >= m for m in milestones)


def exponential_lr(rng):
    lr, gamma, epoch = nice(rng, 0.01, 1), nice(rng, 0.5, 0.99), int(rng.integers(50, 300))
    reference = recursion(lr, lambda lr, t: lr * gamma)
    return s.per_epoch(s.exponential_decay(lr, 1, gamma), epoch), lambda t: reference(t // epoch)


def keras_exponential_decay(rng):
    lr, steps, rate = nice(rng, 0.01, 1), int(rng.integers(500, 3000)), nice(rng, 0.3, 0.99)
    return s.exponential_decay(lr, steps, rate), lambda t: lr * rate ** (t / steps)


def keras_exponential_staircase(rng):
    lr, steps, rate = nice(rng, 0.01, 1), int(rng.integers(500, 3000)), nice(rng, 0.3, 0.99)
    return s.exponential_decay(lr, steps, rate, staircase=True), lambda t: lr * rate ** (t // steps)


def keras_inverse_time_decay(rng):
    lr, steps, rate = nice(rng, 0.01, 1), int(rng.integers(5, 300)), nice(rng, 0.1, 2)
    return s.inverse_time_decay(lr, steps, rate), lambda t: lr / (1 + rate * t / steps)


def cosine_annealing_lr(rng):
    """PyTorch's recursion, up to T_max; beyond it rises again, and this one holds (as optax's and Keras's)."""
    lr, steps, floor = nice(rng, 0.1, 1), int(rng.integers(20, 900)), nice(rng, 0.0, 0.25)

    def next_lr(lr_now, t):
        up, down = 1 + math.cos(math.pi * t / steps), 1 + math.cos(math.pi * (t - 1) / steps)
        return up / down * (lr_now - lr * floor) + lr * floor

    reference = recursion(lr, next_lr)
    return s.cosine_decay(lr, steps, alpha=floor), lambda t: reference(min(t, steps))


def keras_cosine_decay(rng):
    lr, steps, alpha = nice(rng, 0.1, 1), int(rng.integers(20, 900)), nice(rng, 0.05, 0.5)

    def reference(t):
        return lr * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * min(t, steps) / steps)) + alpha)

    return s.cosine_decay(lr, steps, alpha=alpha), reference


def cosine_annealing_warm_restarts(rng):
    """PyTorch's, by its own running of T_cur and T_i."""
    lr, first, multiplier, floor = (
        nice(rng, 0.1, 1),
        int(rng.integers(5, 60)),
        int(rng.integers(1, 4)),
        nice(rng, 0.1, 0.3),
    )

    def reference(t):
        current, length = t, first
        while current >= length:
            current, length = current - length, length * multiplier
        return lr * floor + lr * (1 - floor) * (1 + math.cos(math.pi * current / length)) / 2

    return s.cosine_restarts(lr, first, multiplier, alpha=floor), reference


def keras_cosine_decay_restarts(rng):
    lr, first, t_mul, m_mul, alpha = (
        nice(rng, 0.1, 1),
        int(rng.integers(20, 200)),
        2.0,
        nice(rng, 0.5, 1),
        nice(rng, 0.1, 0.3),
    )

    def reference(t):
        done = t / first
        k = math.floor(math.log(1 - done * (1 - t_mul)) / math.log(t_mul) + 1e-12)
        part = (done - (1 - t_mul**k) / (1 - t_mul)) / t_mul**k
        return lr * ((1 - alpha) * 0.5 * m_mul**k * (1 + math.cos(math.pi * part)) + alpha * m_mul**k)

    return s.cosine_restarts(lr, first, t_mul, m_mul, alpha), reference


def linear_lr(rng):
    lr, start, end, steps = nice(rng, 0.1, 1), nice(rng, 0.1, 0.5), nice(rng, 0.5, 1), int(rng.integers(5, 900))
    return s.linear(lr * start, lr * end, steps), lambda t: lr * (start + (end - start) * min(t, steps) / steps)


def polynomial_lr(rng):
    """PyTorch's recursion, and Keras's PolynomialDecay in one: to zero by a power."""
    lr, steps, power = nice(rng, 0.1, 1), int(rng.integers(20, 900)), float(rng.integers(1, 4))

    def next_lr(now, t):
        return now if t > steps else now * ((1 - t / steps) / (1 - (t - 1) / steps)) ** power

    return s.polynomial(lr, 0.0, power, steps), recursion(lr, next_lr)


def keras_polynomial_decay(rng):
    lr, end, steps, power = nice(rng, 0.3, 1), nice(rng, 0.01, 0.2), int(rng.integers(20, 900)), nice(rng, 0.5, 3)
    return s.polynomial(lr, end, power, steps), lambda t: (lr - end) * (1 - min(t, steps) / steps) ** power + end


def keras_piecewise_constant_decay(rng):
    """Keras keeps the old value at a boundary itself, so its boundaries are one less."""
    boundaries = sorted(int(b) for b in rng.choice(900, 3, replace=False) + 1)
    rates = [nice(rng, 0.01, 1) for _ in range(4)]
    scales = [float(b / a) for a, b in itertools.pairwise(rates)]

    def reference(t):
        return rates[sum(t > b for b in boundaries)]

    return s.piecewise_constant(rates[0], [b + 1 for b in boundaries], scales), reference


def one_cycle_lr(three_phase, cosine):
    def setting(rng):
        """PyTorch's OneCycleLR: its boundaries lie at share * total - 1 and total - 1."""
        total, peak, div, final = int(rng.integers(8, 80)) * 8, nice(rng, 0.1, 1), float(rng.integers(5, 30)), 64.0
        share = float(rng.choice([0.25, 0.375]))
        rise, low = share * total - 1, peak / div
        ends = [rise, 2 * rise, total - 1] if three_phase else [rise, total - 1]
        levels = [low, peak, low, low / final] if three_phase else [low, peak, low / final]

        def reference(t):
            begin = 0.0
            for end, a, b in zip(ends, levels, levels[1:]):
                if t <= end or end == ends[-1]:
                    part = min((t - begin) / (end - begin), 1.0)
                    return b + (a - b) / 2 * (1 + math.cos(math.pi * part)) if cosine else a + (b - a) * part
                begin = end
            raise AssertionError(t)

        steps = total - 1
        if cosine:
            ours = s.cosine_onecycle(steps, peak, (rise + 0.25) / steps, div, final, three_phase)
        else:
            ours = s.linear_onecycle(steps, peak, (rise + 0.25) / steps, (2 * rise + 0.25) / steps, div, final)
        return ours, reference

    return setting


def cyclic_lr(mode):
    def setting(rng):
        base, top, gamma = nice(rng, 0.01, 0.1), nice(rng, 0.2, 1), 0.9990234375
        up, down = int(rng.integers(4, 90)), int(rng.integers(4, 90))

        def reference(t):
            total, ratio = up + down, up / (up + down)
            cycle = math.floor(1 + t / total)
            x = 1.0 + t / total - cycle
            factor = x / ratio if x <= ratio else (x - 1) / (ratio - 1)
            scaled = {"triangular": 1.0, "triangular2": 1 / 2.0 ** (cycle - 1), "exp_range": gamma**t}[mode]
            return base + (top - base) * factor * scaled

        return s.cyclic(base, top, up, down, mode, gamma), reference

    return setting


def noam(rng):
    warm, peak = int(rng.integers(10, 400)), nice(rng, 0.1, 1)
    return (
        s.warmup_inverse_sqrt(0.0, peak, warm),
        lambda t: peak * warm**0.5 * min(max(t, 1e-30) ** -0.5, t * warm**-1.5),
    )


def wsd(tail):
    def setting(rng):
        warm, stable, decay = (int(n) for n in rng.integers(5, 300, 3))
        peak, end = nice(rng, 0.3, 1), nice(rng, 0.01, 0.2)
        shape = {"linear": lambda p: p, "cosine": lambda p: (1 - math.cos(math.pi * p)) / 2, "1-sqrt": math.sqrt}[tail]

        def reference(t):
            if t < warm:
                return peak * t / warm
            return peak + (end - peak) * shape(min(max(t - warm - stable, 0) / decay, 1))

        return s.warmup_stable_decay(0.0, peak, warm, stable, decay, end, tail), reference

    return setting


def rex(rng):
    lr, steps = nice(rng, 0.1, 1), int(rng.integers(20, 900))

    def reference(t):
        z = (steps - min(t, steps)) / steps
        return lr * z / (0.5 + 0.5 * z)

    return s.rex(lr, steps), reference


def recursion(first, following):
    known = [first]

    def at(t):
        while len(known) <= t:
            known.append(following(known[-1], len(known)))
        return known[t]

    return at


SETTINGS = {
    "torch StepLR": step_lr,
    "torch MultiStepLR": multi_step_lr,
    "torch ExponentialLR": exponential_lr,
    "torch CosineAnnealingLR": cosine_annealing_lr,
    "torch CosineAnnealingWarmRestarts": cosine_annealing_warm_restarts,
    "torch LinearLR": linear_lr,
    "torch PolynomialLR": polynomial_lr,
    "torch OneCycleLR cos": one_cycle_lr(False, True),
    "torch OneCycleLR cos three-phase": one_cycle_lr(True, True),
    "torch OneCycleLR linear three-phase": one_cycle_lr(True, False),
    "torch CyclicLR triangular": cyclic_lr("triangular"),
    "torch CyclicLR triangular2": cyclic_lr("triangular2"),
    "torch CyclicLR exp_range": cyclic_lr("exp_range"),
    "keras ExponentialDecay": keras_exponential_decay,
    "keras ExponentialDecay staircase": keras_exponential_staircase,
    "keras InverseTimeDecay": keras_inverse_time_decay,
    "keras CosineDecay": keras_cosine_decay,
    "keras CosineDecayRestarts": keras_cosine_decay_restarts,
    "keras PolynomialDecay": keras_polynomial_decay,
    "keras PiecewiseConstantDecay": keras_piecewise_constant_decay,
    "Vaswani et al.": noam,
    "wsd linear": wsd("linear"),
    "wsd cosine": wsd("cosine"),
    "wsd 1-sqrt": wsd("1-sqrt"),
    "Chen et al. REX": rex,
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("seed", range(3))
def test_a_schedule_follows_its_documented_definition(name, seed):
    """To 1e-6 relative (and 1e-6 of the largest value, where a curve falls to zero), through the end and beyond."""
    ours, reference = SETTINGS[name](np.random.default_rng(seed))
    counts = COUNTS[COUNTS <= 5000] if "exp_range" in name or "CyclicLR" in name else COUNTS
    expected = np.array([reference(int(t)) for t in counts])
    np.testing.assert_allclose(values(ours, counts), expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


OPTAX = {
    "constant": (s.constant, optax.constant_schedule, (0.3,)),
    "linear": (s.linear, optax.linear_schedule, (0.3, 0.7, 90, 11)),
    "polynomial": (s.polynomial, optax.polynomial_schedule, (0.3, 0.1, 2.0, 90, 11)),
    "exponential": (s.exponential_decay, optax.exponential_decay, (0.3, 90, 0.5, 11, False, 0.01)),
    "exponential staircase": (s.exponential_decay, optax.exponential_decay, (0.3, 90, 0.5, 11, True)),
    "exponential growth": (s.exponential_decay, optax.exponential_decay, (0.3, 900, 1.5, 0, False, 0.5)),
    "cosine": (s.cosine_decay, optax.cosine_decay_schedule, (0.3, 90, 0.1, 2.0)),
    "cosine onecycle": (s.cosine_onecycle, optax.cosine_onecycle_schedule, (100, 0.5, 0.25, 10.0, 100.0)),
    "linear onecycle": (s.linear_onecycle, optax.linear_onecycle_schedule, (100, 0.5, 0.25, 0.75, 10.0, 100.0)),
    "warmup constant": (s.warmup_constant, optax.warmup_constant_schedule, (0.1, 0.7, 50)),
    "warmup cosine": (s.warmup_cosine_decay, optax.warmup_cosine_decay_schedule, (0.1, 0.7, 50, 400, 0.05, 1.5)),
    "warmup exponential": (
        s.warmup_exponential_decay,
        optax.warmup_exponential_decay_schedule,
        (0.1, 0.7, 50, 300, 0.5, 20, False, 0.2),
    ),
    "piecewise constant": (
        lambda v, b, k: s.piecewise_constant(v, b, k),
        lambda v, b, k: optax.piecewise_constant_schedule(v, dict(zip(b, k))),
        (0.3, (50, 400), (0.5, 0.25)),
    ),
    "piecewise linear": (
        lambda v, b, k: s.piecewise_interpolate("linear", v, b, k),
        lambda v, b, k: optax.piecewise_interpolate_schedule("linear", v, dict(zip(b, k))),
        (0.3, (50, 400), (0.5, 3.0)),
    ),
    "piecewise cosine": (
        lambda v, b, k: s.piecewise_interpolate("cosine", v, b, k),
        lambda v, b, k: optax.piecewise_interpolate_schedule("cosine", v, dict(zip(b, k))),
        (0.3, (50, 400), (0.5, 3.0)),
    ),
    "restarts": (
        lambda peak, first: s.cosine_restarts(peak, first, 2.0),
        lambda peak, first: optax.sgdr_schedule(
            [
                {
                    "init_value": peak,
                    "peak_value": peak,
                    "decay_steps": first * 2**k,
                    "warmup_steps": 0,
                    "end_value": 0.0,
                }
                for k in range(12)
            ]
        ),
        (0.3, 30),
    ),
    "joined": (
        lambda a, b, at: s.join([s.constant(a), s.linear(b, 0.0, 100)], [at]),
        lambda a, b, at: optax.join_schedules([optax.constant_schedule(a), optax.linear_schedule(b, 0.0, 100)], [at]),
        (0.3, 0.2, 70),
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_a_schedule_equals_optax_where_optax_has_it(name):
    ours, theirs, arguments = OPTAX[name]
    expected = np.array([float(theirs(*arguments)(int(t))) for t in COUNTS])
    np.testing.assert_allclose(values(ours(*arguments)), expected, rtol=1e-6, atol=1e-7)


# -- concrete, traced and vmapped -----------------------------------------------------------------------------------


def numeric(example):
    """The arguments of an example that are numbers or sequences of numbers."""
    return {name: value for name, value in example.items() if not isinstance(value, str | bool)}


@pytest.mark.parametrize("entry", s.CATALOGUE, ids=lambda entry: entry.name)
def test_traced_and_vmapped_parameters_give_the_concrete_values(entry):
    """To one unit in the last place, or a few where XLA contracts a product and a sum into one rounding."""
    function = getattr(s, entry.name)
    fixed = {name: value for name, value in entry.example.items() if name not in numeric(entry.example)}
    counts = jnp.array([0, 1, 119, 120, 149, 150, 500, 899, 900, 949, 950, 1000, 3000])
    concrete = np.array([function(**entry.example)(int(t)) for t in counts])
    arrays = {k: jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), v) for k, v in numeric(entry.example).items()}
    at = lambda parameters, t: function(**parameters, **fixed)(t)
    jitted = np.array([jax.jit(at)(arrays, t) for t in counts])
    lanes = jax.tree.map(lambda v: jnp.broadcast_to(v, counts.shape), arrays)
    vmapped = np.asarray(jax.jit(jax.vmap(at))(lanes, counts))
    ulp = np.spacing(np.maximum(np.abs(concrete), np.abs(concrete).max() * 2.0**-3).astype(np.float32))
    assert np.all(np.abs(jitted - concrete) <= 2 * ulp)
    assert np.all(np.abs(vmapped - concrete) <= 2 * ulp)


def test_the_catalogue_names_every_schedule():
    combinators = {"join", "scale", "clip", "warmup", "per_epoch", "select", "reduce_on_plateau"}
    public = {name for name in vars(s) if not name.startswith("_") and callable(getattr(s, name)) and name.islower()}
    assert {entry.name for entry in s.CATALOGUE} == public - combinators


@pytest.mark.parametrize("entry", s.CATALOGUE, ids=lambda entry: entry.name)
def test_values_are_finite_before_zero_and_far_beyond_the_end(entry):
    schedule = getattr(s, entry.name)(**entry.example)
    found = values(schedule, np.array([-5, -1, 0, 10**4, 10**6, 10**7]))
    assert np.all(np.isfinite(found))
    assert found[0] == found[1] == found[2]


def test_every_schedule_drives_an_optimizer_whose_lanes_differ_in_its_shape():
    def trained(steps, alpha):
        transform = optax.sgd(s.cosine_decay(0.1, steps, alpha), momentum=0.9)
        state = transform.init(1.0)
        total = 1.0
        for _ in range(5):
            update, state = transform.update(1.0, state)
            total = total + update
        return total

    steps, alpha = jnp.array([2.0, 5.0, 50.0]), jnp.array([0.0, 0.1, 0.5])
    alone = [float(trained(float(n), float(a))) for n, a in zip(steps, alpha)]
    np.testing.assert_allclose(jax.jit(jax.vmap(trained))(steps, alpha), alone, rtol=1e-6)


# -- properties -----------------------------------------------------------------------------------------------------

rates = st.floats(2.0**-20, 8.0, width=32)
lengths = st.integers(1, 10**6)


@given(rates, rates, lengths, st.floats(0.25, 4.0, width=32))
@quick
def test_ends_are_hit_exactly(start, end, steps, power):
    for schedule in (s.linear(start, end, steps), s.polynomial(start, end, power, steps), s.rex(start, steps, end)):
        assert float(schedule(0)) == np.float32(start)
        assert float(schedule(steps)) == float(schedule(steps + 7)) == np.float32(end)
    assert float(s.cosine_decay(start, steps)(steps)) == 0.0
    assert float(s.warmup_constant(start, end, steps)(steps)) == np.float32(end)
    assert float(s.warmup_stable_decay(0.0, start, steps, steps, steps, end)(3 * steps)) == np.float32(end)
    assert float(s.cosine_onecycle(10 * steps, start, 0.5)(5 * steps)) == np.float32(start)


@given(rates, lengths, st.lists(st.integers(0, 2 * 10**6), min_size=2, max_size=8))
@quick
def test_decays_never_rise(start, steps, counts):
    counts = sorted(counts)
    for schedule in (
        s.linear(start, 0.0, steps),
        s.cosine_decay(start, steps, 0.1),
        s.exponential_decay(start, steps, 0.5),
        s.step_decay(start, steps, 0.5),
        s.inverse_sqrt(start, steps),
        s.rex(start, steps),
    ):
        found = np.array([float(schedule(t)) for t in counts])
        assert np.all(np.diff(found) <= 1e-6 * start)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=3, unique=True), st.integers(0, 1500))
@quick
def test_joined_schedules_are_their_parts(boundaries, count):
    boundaries = sorted(boundaries)
    parts = [s.linear(1.0 + i, 0.5, 100) for i in range(len(boundaries) + 1)]
    active = sum(count >= b for b in boundaries)
    begin = ([0, *boundaries])[active]
    assert float(s.join(parts, boundaries)(count)) == float(parts[active](count - begin))


@given(st.integers(1, 200), st.integers(1, 4), st.integers(0, 10**6))
@quick
def test_restarts_begin_exactly_where_they_should(first, multiplier, near):
    boundary = 0
    length = first
    while boundary + length <= near:
        boundary, length = boundary + length, length * multiplier
    schedule = s.cosine_restarts(1.0, first, multiplier)
    assert float(schedule(boundary)) == 1.0
    if length > 4:
        assert float(schedule(boundary + length - 1)) < 0.35


# -- combinators, families as lanes, plateau ------------------------------------------------------------------------


def test_families_are_lanes_of_one_program():
    def rate(kind, value, count):
        families = {
            "constant": s.constant(value),
            "step": s.step_decay(value, 10, 0.5),
            "exponential": s.exponential_decay(value, 10, 0.5),
            "cosine": s.cosine_decay(value, 40),
        }
        return s.select(kind, families)(count)

    counts = jnp.arange(50)
    lanes = jax.jit(jax.vmap(jax.vmap(rate, (None, None, 0)), (0, 0, None)))(jnp.arange(4), jnp.full(4, 0.1), counts)
    for lane, kind in enumerate(("constant", "step", "exponential", "cosine")):
        np.testing.assert_allclose(lanes[lane], [rate(kind, 0.1, int(t)) for t in counts], rtol=3e-7, atol=1e-9)


def test_a_schedule_that_is_not_chosen_can_do_no_harm():
    broken = lambda count: jnp.log(-1.0 - count)
    chosen = jax.jit(lambda k, v: s.select(k, {"good": s.constant(v), "broken": broken})(3))
    assert float(chosen(0, 0.5)) == 0.5
    assert float(jax.grad(lambda v: chosen(0, v))(0.5)) == 1.0


def test_schedules_counted_in_epochs_change_at_their_ends():
    schedule = s.per_epoch(s.step_decay(1.0, 1, 0.5), 7)
    assert [float(schedule(t)) for t in (6, 7, 13, 14)] == [1.0, 0.5, 0.5, 0.25]
    assert float(s.per_epoch(s.linear(1.0, 0.0, 10), 4, staircase=False)(2)) == pytest.approx(0.95)


PLATEAUS = [{"factor": 0.5, "patience": 2}, {"factor": 0.1, "patience": 1, "cooldown": 2, "min_scale": 0.02}]


@pytest.mark.parametrize("arguments", [*PLATEAUS, {"factor": 0.5, "patience": 1, "accumulation_size": 3, "rtol": 0.1}])
def test_reduce_on_plateau_follows_optax_step_by_step_also_when_traced(arguments):
    losses = np.random.default_rng(0).uniform(0.9, 1.1, 60).astype(np.float32) * np.linspace(
        1, 0.9, 60, dtype=np.float32
    )

    def scales(transform):
        state, found = transform.init(1.0), []
        for loss in losses:
            update, state = transform.update(jnp.float32(1.0), state, value=loss)
            found.append(update)
        return jnp.stack(found)

    expected = scales(optax.contrib.reduce_on_plateau(**arguments))
    assert len(set(np.asarray(expected).tolist())) > 2
    np.testing.assert_allclose(scales(s.reduce_on_plateau(**arguments)), expected, rtol=1e-6)
    lanes = {name: jnp.full(2, value) for name, value in arguments.items()}
    traced = jax.vmap(lambda given: scales(s.reduce_on_plateau(**given)))(lanes)
    np.testing.assert_allclose(traced[1], expected, rtol=1e-6)


# -- bad arguments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: s.cosine_decay(0.1, -5), "decay_steps=-5 is not a number of steps above 0"),
        (lambda: s.cosine_decay(float("nan"), 5), "init_value=nan is not a finite number"),
        (lambda: s.linear("fast", 0.0, 5), "init_value='fast' is not a finite number"),
        (lambda: s.multi_step(0.1, [20, 10], 0.5), r"boundaries=\[20, 10\] is not in ascending order"),
        (lambda: s.piecewise_constant(0.1, [10, 20], [0.5]), "boundaries has 2 steps and scales 1 entries"),
        (lambda: s.cosine_onecycle(100, 0.1, div_factor=0), "div_factor=0 is not a factor above 0"),
        (lambda: s.exponential_decay(0.1, 10, 0.0), "decay_rate=0.0 is not a rate above 0"),
        (lambda: s.cosine_restarts(0.1, 10, 0.5), "period_multiplier=0.5 is not a multiplier of at least 1"),
        (lambda: s.cyclic(0.0, 1.0, 4, mode="square"), "mode='square' is unknown"),
        (lambda: s.warmup_cosine_decay(0.0, 1.0, 50, 50), "decay_steps=50 includes the warm-up"),
        (lambda: s.join([s.constant(1.0)], [3]), "boundaries has 1 steps and schedules 1 entries: give 2"),
        (lambda: s.select("cosin", {"cosine": s.constant(1.0)}), "'cosin' is none of the schedules cosine"),
        (lambda: s.table([]), "values is empty"),
        (lambda: s.reduce_on_plateau(factor=2.0), "factor=2.0 is not a factor between 0 and 1"),
    ],
)
def test_concrete_bad_arguments_are_one_clear_sentence(make, sentence):
    with pytest.raises(js.JsweepError, match=sentence) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_importing_schedules_loads_nothing_of_the_rest():
    code = (
        "import sys, jsweep.schedules; "
        "print([m for m in sys.modules if m.startswith('jsweep.') and not m.startswith('jsweep.schedules')], "
        "'rich' in sys.modules, 'click' in sys.modules, 'sqlite3' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['jsweep.errors'] False False False"


def test_wider_floats_are_kept_where_jax_has_them():
    with jax.enable_x64(True):
        assert s.linear(0.1, 0.7, 3)(1).dtype == jnp.float64
        assert float(s.linear(0.1, 0.7, 3)(1)) == pytest.approx(0.3, rel=1e-15)


def test_the_table_in_the_docs_names_every_schedule():
    from pathlib import Path

    text = (Path(__file__).parent.parent / "docs" / "schedules.md").read_text()
    public = [name for name in vars(s) if name.islower() and not name.startswith("_") and callable(getattr(s, name))]
    assert [name for name in public if f"`{name}(" not in text] == []
