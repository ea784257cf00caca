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
    return s.step_decay(lr, size, factor=gamma), lambda t: lr * gamma ** (t // size)


def multi_step_lr(rng):
    lr, gamma = nice(rng, 0.01, 1), nice(rng, 0.1, 0.9)
    milestones = sorted(int(m) for m in rng.choice(1000, 3, replace=False) + 1)
    return s.multi_step(lr, milestones, factor=gamma), lambda t: lr * gamma ** sum(t >= m for m in milestones)


def exponential_lr(rng):
    lr, gamma, epoch = nice(rng, 0.01, 1), nice(rng, 0.5, 0.99), int(rng.integers(50, 300))
    reference = recursion(lr, lambda lr, t: lr * gamma)
    return s.per_epoch(s.exponential_decay(lr, 1, decay_rate=gamma), epoch), lambda t: reference(t // epoch)


def keras_exponential_decay(rng):
    lr, steps, rate = nice(rng, 0.01, 1), int(rng.integers(500, 3000)), nice(rng, 0.3, 0.99)
    return s.exponential_decay(lr, steps, decay_rate=rate), lambda t: lr * rate ** (t / steps)


def keras_exponential_staircase(rng):
    lr, steps, rate = nice(rng, 0.01, 1), int(rng.integers(500, 3000)), nice(rng, 0.3, 0.99)
    return s.exponential_decay(lr, steps, decay_rate=rate, staircase=True), lambda t: lr * rate ** (t // steps)


def keras_inverse_time_decay(rng):
    lr, steps, rate = nice(rng, 0.01, 1), int(rng.integers(5, 300)), nice(rng, 0.1, 2)
    return s.inverse_time_decay(lr, steps, decay_rate=rate), lambda t: lr / (1 + rate * t / steps)


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


def keras_cosine_decay_with_warmup(rng):
    """Keras's alpha is a fraction of warmup_target, not of initial_learning_rate."""
    low, target, alpha = nice(rng, 0.01, 0.1), nice(rng, 0.2, 1), nice(rng, 0.05, 0.5)
    warm, decay = int(rng.integers(5, 100)), int(rng.integers(20, 900))

    def reference(t):
        if t < warm:
            return low + (target - low) * t / warm
        part = min(t - warm, decay) / decay
        return target * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * part)) + alpha)

    floor = float(np.float32(alpha * target))
    schedule = s.warmup_cosine_decay(low, target, warmup_steps=warm, decay_steps=warm + decay, end_value=floor)
    return schedule, reference


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

    return s.cosine_restarts(lr, first, period_multiplier=multiplier, alpha=floor), reference


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
        return lr * ((1 - alpha) * 0.5 * m_mul**k * (1 + math.cos(math.pi * part)) + alpha)

    return s.cosine_restarts(lr, first, period_multiplier=t_mul, peak_multiplier=m_mul, alpha=alpha), reference


def timm_cosine_scheduler(rng):
    """timm's CosineLRScheduler with its default lr_min of 0, by its own formula."""
    lr, first, mul, decay = nice(rng, 0.1, 1), int(rng.integers(20, 200)), float(rng.integers(1, 3)), nice(rng, 0.5, 1)

    def reference(t):
        if mul == 1:
            i, length, current = t // first, first, t % first
        else:
            i = math.floor(math.log(1 - t / first * (1 - mul), mul) + 1e-12)
            length, current = mul**i * first, t - (1 - mul**i) / (1 - mul) * first
        return 0.5 * lr * decay**i * (1 + math.cos(math.pi * current / length))

    return s.cosine_restarts(lr, first, period_multiplier=mul, peak_multiplier=decay), reference


def linear_lr(rng):
    lr, start, end, steps = nice(rng, 0.1, 1), nice(rng, 0.1, 0.5), nice(rng, 0.5, 1), int(rng.integers(5, 900))
    return s.linear(
        lr * start, lr * end, transition_steps=steps
    ), lambda t: lr * (start + (end - start) * min(t, steps) / steps)


def polynomial_lr(rng):
    """PyTorch's recursion, and Keras's PolynomialDecay in one: to zero by a power."""
    lr, steps, power = nice(rng, 0.1, 1), int(rng.integers(20, 900)), float(rng.integers(1, 4))

    def next_lr(now, t):
        return now if t > steps else now * ((1 - t / steps) / (1 - (t - 1) / steps)) ** power

    return s.polynomial(lr, 0.0, power=power, transition_steps=steps), recursion(lr, next_lr)


def keras_polynomial_decay(rng):
    lr, end, steps, power = nice(rng, 0.3, 1), nice(rng, 0.01, 0.2), int(rng.integers(20, 900)), nice(rng, 0.5, 3)
    schedule = s.polynomial(lr, end, power=power, transition_steps=steps)
    return schedule, lambda t: (lr - end) * (1 - min(t, steps) / steps) ** power + end


def keras_piecewise_constant_decay(rng):
    """Keras keeps the old value at a boundary itself, so its boundaries are one less."""
    boundaries = sorted(int(b) for b in rng.choice(900, 3, replace=False) + 1)
    rates = [nice(rng, 0.01, 1) for _ in range(4)]
    scales = [float(b / a) for a, b in itertools.pairwise(rates)]

    def reference(t):
        return rates[sum(t > b for b in boundaries)]

    return s.piecewise_constant(rates[0], [b + 1 for b in boundaries], scales=scales), reference


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
        factors = {"div_factor": div, "final_div_factor": final}
        if cosine:
            factors["three_phase"] = three_phase
            ours = s.cosine_onecycle(steps, peak, pct_start=(rise + 0.25) / steps, **factors)
        else:
            factors["pct_final"] = (2 * rise + 0.25) / steps
            ours = s.linear_onecycle(steps, peak, pct_start=(rise + 0.25) / steps, **factors)
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

        return s.cyclic(base, top, step_size_up=up, step_size_down=down, mode=mode, gamma=gamma), reference

    return setting


def noam(rng):
    warm, peak = int(rng.integers(10, 400)), nice(rng, 0.1, 1)
    return (
        s.warmup_inverse_sqrt(0.0, peak, warmup_steps=warm),
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

        lengths = {"warmup_steps": warm, "stable_steps": stable, "decay_steps": decay}
        return s.warmup_stable_decay(0.0, peak, **lengths, end_value=end, tail=tail), reference

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
    "keras CosineDecay with warm-up": keras_cosine_decay_with_warmup,
    "timm CosineLRScheduler": timm_cosine_scheduler,
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


def scaled(boundaries, scales):
    return dict(zip(boundaries, scales))


WARMED = {"init_value": 0.1, "peak_value": 0.7, "warmup_steps": 50}
PIECES = {"init_value": 0.3, "boundaries": (50, 400), "scales": (0.5, 3.0)}
OPTAX = {
    "constant": (s.constant, optax.constant_schedule, {"value": 0.3}),
    "linear": (
        s.linear,
        optax.linear_schedule,
        {"init_value": 0.3, "end_value": 0.7, "transition_steps": 90, "transition_begin": 11},
    ),
    "polynomial": (
        s.polynomial,
        optax.polynomial_schedule,
        {"init_value": 0.3, "end_value": 0.1, "power": 2.0, "transition_steps": 90, "transition_begin": 11},
    ),
    "exponential": (
        s.exponential_decay,
        optax.exponential_decay,
        {"init_value": 0.3, "transition_steps": 90, "decay_rate": 0.5, "transition_begin": 11, "end_value": 0.01},
    ),
    "exponential staircase": (
        s.exponential_decay,
        optax.exponential_decay,
        {"init_value": 0.3, "transition_steps": 90, "decay_rate": 0.5, "transition_begin": 11, "staircase": True},
    ),
    "exponential growth": (
        s.exponential_decay,
        optax.exponential_decay,
        {"init_value": 0.3, "transition_steps": 900, "decay_rate": 1.5, "end_value": 0.5},
    ),
    "cosine": (
        s.cosine_decay,
        optax.cosine_decay_schedule,
        {"init_value": 0.3, "decay_steps": 90, "alpha": 0.1, "exponent": 2.0},
    ),
    "cosine onecycle": (
        s.cosine_onecycle,
        optax.cosine_onecycle_schedule,
        {"transition_steps": 100, "peak_value": 0.5, "pct_start": 0.25, "div_factor": 10.0, "final_div_factor": 100.0},
    ),
    "cosine onecycle of rounded shares": (
        s.cosine_onecycle,
        optax.cosine_onecycle_schedule,
        {"transition_steps": 900, "peak_value": 0.5, "pct_start": 0.13},
    ),
    "linear onecycle": (
        s.linear_onecycle,
        optax.linear_onecycle_schedule,
        {"transition_steps": 100, "peak_value": 0.5, "pct_start": 0.25, "pct_final": 0.75, "div_factor": 10.0},
    ),
    "warmup constant": (s.warmup_constant, optax.warmup_constant_schedule, WARMED),
    "warmup cosine": (
        s.warmup_cosine_decay,
        optax.warmup_cosine_decay_schedule,
        {**WARMED, "decay_steps": 400, "end_value": 0.05, "exponent": 1.5},
    ),
    "warmup exponential": (
        s.warmup_exponential_decay,
        optax.warmup_exponential_decay_schedule,
        {**WARMED, "transition_steps": 300, "decay_rate": 0.5, "transition_begin": 20, "end_value": 0.2},
    ),
    "piecewise constant": (
        s.piecewise_constant,
        lambda init_value, boundaries, scales: optax.piecewise_constant_schedule(
            init_value, scaled(boundaries, scales)
        ),
        PIECES,
    ),
    "piecewise linear": (
        s.piecewise_interpolate,
        lambda interpolate_type, init_value, boundaries, scales: optax.piecewise_interpolate_schedule(
            interpolate_type, init_value, scaled(boundaries, scales)
        ),
        {"interpolate_type": "linear", **PIECES},
    ),
    "piecewise cosine": (
        s.piecewise_interpolate,
        lambda interpolate_type, init_value, boundaries, scales: optax.piecewise_interpolate_schedule(
            interpolate_type, init_value, scaled(boundaries, scales)
        ),
        {"interpolate_type": "cosine", **PIECES},
    ),
    "restarts": (
        lambda peak, first: s.cosine_restarts(peak, first, period_multiplier=2.0),
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
        {"peak": 0.3, "first": 30},
    ),
    "joined": (
        lambda a, b, at: s.join([s.constant(a), s.linear(b, 0.0, transition_steps=100)], [at]),
        lambda a, b, at: optax.join_schedules([optax.constant_schedule(a), optax.linear_schedule(b, 0.0, 100)], [at]),
        {"a": 0.3, "b": 0.2, "at": 70},
    ),
}


@pytest.mark.parametrize("name", OPTAX)
def test_a_schedule_equals_optax_where_optax_has_it(name):
    ours, theirs, arguments = OPTAX[name]
    expected = np.array([float(theirs(**arguments)(int(t))) for t in COUNTS])
    np.testing.assert_allclose(values(ours(**arguments)), expected, rtol=1e-6, atol=1e-7)


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
        transform = optax.sgd(s.cosine_decay(0.1, steps, alpha=alpha), momentum=0.9)
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
    length = {"transition_steps": steps}
    for schedule in (
        s.linear(start, end, **length),
        s.polynomial(start, end, power=power, **length),
        s.rex(start, steps, end_value=end),
    ):
        assert float(schedule(0)) == np.float32(start)
        assert float(schedule(steps)) == float(schedule(steps + 7)) == np.float32(end)
    assert float(s.cosine_decay(start, steps)(steps)) == 0.0
    assert float(s.warmup_constant(start, end, warmup_steps=steps)(steps)) == np.float32(end)
    lengths = {"warmup_steps": steps, "stable_steps": steps, "decay_steps": steps}
    assert float(s.warmup_stable_decay(0.0, start, **lengths, end_value=end)(3 * steps)) == np.float32(end)
    assert float(s.cosine_onecycle(10 * steps, start, pct_start=0.5)(5 * steps)) == np.float32(start)


@given(rates, lengths, st.lists(st.integers(0, 2 * 10**6), min_size=2, max_size=8))
@quick
def test_decays_never_rise(start, steps, counts):
    counts = sorted(counts)
    for schedule in (
        s.linear(start, 0.0, transition_steps=steps),
        s.cosine_decay(start, steps, alpha=0.1),
        s.exponential_decay(start, steps, decay_rate=0.5),
        s.step_decay(start, steps, factor=0.5),
        s.inverse_sqrt(start, steps),
        s.rex(start, steps),
    ):
        found = np.array([float(schedule(t)) for t in counts])
        assert np.all(np.diff(found) <= 1e-6 * start)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=3, unique=True), st.integers(0, 1500))
@quick
def test_joined_schedules_are_their_parts(boundaries, count):
    boundaries = sorted(boundaries)
    parts = [s.linear(1.0 + i, 0.5, transition_steps=100) for i in range(len(boundaries) + 1)]
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
    schedule = s.cosine_restarts(1.0, first, period_multiplier=multiplier)
    assert float(schedule(boundary)) == 1.0
    if length > 4:
        assert float(schedule(boundary + length - 1)) < 0.35


# -- combinators, families as lanes, plateau ------------------------------------------------------------------------


LENGTHS = {
    "linear": (lambda n, m: s.linear(1.0, m, transition_steps=n, transition_begin=m)),
    "polynomial": (lambda n, m: s.polynomial(1.0, 0.1, power=m, transition_steps=n)),
    "step": (lambda n, m: s.step_decay(m, n, factor=m)),
    "exponential": (lambda n, m: s.exponential_decay(1.0, n, decay_rate=m, transition_begin=n)),
    "exponential floor": (lambda n, m: s.exponential_decay(1.0, n, decay_rate=m, end_value=0.1)),
    "exponential growth": (lambda n, m: s.exponential_decay(1.0, n, decay_rate=10.0 + m, end_value=5.0)),
    "exponential staircase": (lambda n, m: s.exponential_decay(1.0, n, decay_rate=m, staircase=True)),
    "inverse time": (lambda n, m: s.inverse_time_decay(1.0, n, decay_rate=m)),
    "cosine": (lambda n, m: s.cosine_decay(1.0, n, alpha=m, exponent=m)),
    "inverse sqrt": (lambda n, m: s.inverse_sqrt(m, n)),
    "rex": (lambda n, m: s.rex(1.0, n, end_value=m)),
    "restarts": (lambda n, m: s.cosine_restarts(1.0, n, period_multiplier=1 + m, peak_multiplier=m, alpha=0.1 * m)),
    "restarts of equal length": (lambda n, m: s.cosine_restarts(m, n)),
    "cosine onecycle": (lambda n, m: s.cosine_onecycle(n, 1.0, pct_start=0.5 * m, div_factor=m)),
    "cosine onecycle in three phases": (lambda n, m: s.cosine_onecycle(n, m, pct_start=0.4 * m, three_phase=True)),
    "linear onecycle": (lambda n, m: s.linear_onecycle(n, 1.0, pct_start=0.5 * m, pct_final=0.6 + 0.2 * m)),
    "cyclic": (lambda n, m: s.cyclic(0.0, m, step_size_up=n, step_size_down=2 * n)),
    "cyclic exp_range": (lambda n, m: s.cyclic(0.0, 1.0, step_size_up=n, mode="exp_range", gamma=m)),
    "piecewise": (lambda n, m: s.piecewise_constant(1.0, [n, 2 * n], scales=[m, 0.0])),
    "piecewise lines": (lambda n, m: s.piecewise_interpolate("linear", 1.0, boundaries=[n, 2 * n], scales=[m, 0.0])),
    "piecewise cosines": (lambda n, m: s.piecewise_interpolate("cosine", 1.0, boundaries=[n, 2 * n], scales=[m, 3.0])),
    "table": (lambda n, m: s.table([m, 0.5, 2 * m], n)),
    "warmup constant": (lambda n, m: s.warmup_constant(0.0, m, warmup_steps=n)),
    "warmup cosine": (
        lambda n, m: s.warmup_cosine_decay(0.0, 1.0, warmup_steps=n, decay_steps=3 * n, end_value=m, exponent=m)
    ),
    "warmup exponential": (
        lambda n, m: s.warmup_exponential_decay(0.0, 1.0, warmup_steps=n, transition_steps=n, decay_rate=m)
    ),
    "warmup inverse sqrt": (lambda n, m: s.warmup_inverse_sqrt(0.0, m, warmup_steps=n)),
    **{
        f"wsd {tail}": (
            lambda n, m, tail=tail: s.warmup_stable_decay(
                0.0, 1.0, warmup_steps=n, stable_steps=n, decay_steps=n, end_value=0.1 * m, tail=tail
            )
        )
        for tail in ("linear", "cosine", "1-sqrt")
    },
    "joined": (lambda n, m: s.join([s.constant(m), s.polynomial(m, 0.0, power=m, transition_steps=n)], [n])),
    "warmed up": (lambda n, m: s.warmup(s.cosine_decay(m, n, exponent=m), n)),
    "per epoch": (lambda n, m: s.per_epoch(s.cosine_decay(m, 2, exponent=m), n, staircase=False)),
    "clipped": (lambda n, m: s.clip(s.cosine_decay(1.0, n), min_value=0.2 * m, max_value=m)),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_values_and_gradients_are_finite_at_every_step_whatever_the_traced_lengths(name):
    """By the count, a length and another parameter; at 0, at boundaries, past the end, for lengths of 0 and below."""

    def value(count, length, other):
        return LENGTHS[name](length, other)(count)

    counts = jnp.array([-3.0, 0.0, 0.5, 1, 9, 10, 11, 15, 19, 20, 21, 25, 29, 30, 31, 40, 70, 300])
    lengths, others = jnp.array([10.0, 1.0, 0.0, -5.0, 7.5]), jnp.array([0.5, 1.0, 0.75])
    grid = [a.ravel() for a in jnp.meshgrid(counts, lengths, others)]
    found, gradients = jax.jit(jax.vmap(jax.value_and_grad(value, (0, 1, 2))))(*grid)
    assert np.all(np.isfinite(found))
    for gradient, parameter in zip(gradients, ("count", "length", "other")):
        assert np.all(np.isfinite(gradient)), parameter


@pytest.mark.parametrize("name", LENGTHS)
def test_gradients_are_those_of_finite_differences_where_the_schedule_is_smooth(name):
    if name in ("exponential growth", "cosine onecycle", "cosine onecycle in three phases", "linear onecycle"):
        other = 0.7625  # no whole number of steps
    else:
        other = 0.75
    with jax.enable_x64(True):
        for count in (3.3, 13.7, 24.1, 27.2):
            value = lambda length: LENGTHS[name](length, other)(count)  # noqa: B023
            numeric = (float(value(10.3 + 1e-6)) - float(value(10.3 - 1e-6))) / 2e-6
            assert float(jax.grad(value)(10.3)) == pytest.approx(numeric, rel=1e-5, abs=1e-8)


def test_the_gradient_of_a_square_root_tail_is_0_on_the_plateau_and_that_of_the_formula_after():
    def value(decay, count):
        lengths = {"warmup_steps": 10.0, "stable_steps": 20.0, "decay_steps": decay}
        return s.warmup_stable_decay(0.0, 1.0, **lengths, tail="1-sqrt")(count)

    gradient = jax.grad(value)
    assert [float(gradient(30.0, t)) for t in (5.0, 20.0, 30.0, 70.0)] == [0.0] * 4
    assert float(gradient(30.0, 40.0)) == pytest.approx(0.5 * math.sqrt(10.0) * 30.0**-1.5, rel=1e-5)


def test_the_gradient_of_a_joined_schedule_does_not_see_parts_that_are_not_active():
    def value(rate, count):
        return s.join([s.constant(rate), lambda t: rate / jnp.sqrt(t)], [10])(count)

    assert float(jax.grad(value)(0.5, 3.0)) == 1.0
    assert float(jax.jit(jax.grad(value))(0.5, 3.0)) == 1.0
    assert float(jax.grad(value)(0.5, 14.0)) == pytest.approx(0.5)


def test_the_floor_of_every_period_is_that_of_the_first():
    schedule = s.cosine_restarts(1.0, 20, period_multiplier=2.0, peak_multiplier=0.5, alpha=0.25)
    assert [round(float(schedule(t)), 4) for t in (0, 20, 60)] == [1.0, 0.625, 0.4375]
    assert all(0.25 <= float(schedule(t)) < 0.26 for t in (19, 59, 139))


def test_a_peak_is_at_the_floor_of_the_exact_product():
    for steps, share, peak in ((900, 0.13, 117), (100, 0.29, 29), (1000, 0.3, 300), (25, 0.3, 7)):
        for schedule in (
            s.cosine_onecycle(steps, 1.0, pct_start=share),
            jax.jit(lambda p, t, n=steps: s.linear_onecycle(n, 1.0, pct_start=p)(t)).__get__(share),
        ):
            at = [float(schedule(t)) for t in (peak - 1, peak, peak + 1)]
            assert at[1] == 1.0 > max(at[0], at[2])


@pytest.mark.parametrize(("steps", "share"), [(25, 0.3), (100, 0.25), (10, 0.49), (900, 0.13)])
def test_three_phases_fall_in_as_many_steps_as_they_rise(steps, share):
    schedule = s.cosine_onecycle(steps, 1.0, pct_start=share, div_factor=10.0, final_div_factor=10.0, three_phase=True)
    found = values(schedule, np.arange(steps + 5))
    rise = int(found.argmax())
    assert found[rise] == 1.0
    np.testing.assert_allclose(found[[0, 2 * rise]], 0.1, rtol=1e-6)
    np.testing.assert_allclose(found[: rise + 1], found[rise : 2 * rise + 1][::-1], rtol=1e-5)
    np.testing.assert_allclose(found[steps:], 0.01, rtol=1e-6)
    assert np.all(np.diff(found[rise:]) <= 0)


def test_families_are_lanes_of_one_program():
    def rate(kind, value, count):
        families = {
            "constant": s.constant(value),
            "step": s.step_decay(value, 10, factor=0.5),
            "exponential": s.exponential_decay(value, 10, decay_rate=0.5),
            "cosine": s.cosine_decay(value, 40),
        }
        return s.select(kind, families)(count)

    counts = jnp.arange(50)
    lanes = jax.jit(jax.vmap(jax.vmap(rate, (None, None, 0)), (0, 0, None)))(jnp.arange(4), jnp.full(4, 0.1), counts)
    for lane, kind in enumerate(("constant", "step", "exponential", "cosine")):
        np.testing.assert_allclose(lanes[lane], [rate(kind, 0.1, int(t)) for t in counts], rtol=3e-7, atol=1e-9)


def test_a_schedule_that_is_not_selected_has_no_effect():
    broken = lambda count: jnp.log(-1.0 - count)
    chosen = jax.jit(lambda k, v: s.select(k, {"good": s.constant(v), "broken": broken})(3))
    assert float(chosen(0, 0.5)) == 0.5
    assert float(jax.grad(lambda v: chosen(0, v))(0.5)) == 1.0


def test_the_gradient_of_a_schedule_that_is_not_selected_has_no_effect():
    """A root has an infinite derivative at 0, which times a zero cotangent would be NaN."""

    def value(rate, kind):
        return s.select(kind, {"line": lambda t: 2.0 * rate, "root": lambda t: jnp.sqrt(rate - 0.5)})(3)

    assert float(jax.jit(jax.grad(value))(0.5, 0)) == 2.0
    rates, kinds = jnp.array([0.5, 0.5, 0.75]), jnp.array([0, 0, 1])
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(value)))(rates, kinds), [2.0, 2.0, 1.0])
    np.testing.assert_allclose(jax.vmap(jax.jacfwd(value))(rates, kinds), [2.0, 2.0, 1.0])


def test_schedules_counted_in_epochs_change_at_their_ends():
    schedule = s.per_epoch(s.step_decay(1.0, 1, factor=0.5), 7)
    assert [float(schedule(t)) for t in (6, 7, 13, 14)] == [1.0, 0.5, 0.5, 0.25]
    assert float(s.per_epoch(s.linear(1.0, 0.0, transition_steps=10), 4, staircase=False)(2)) == pytest.approx(0.95)


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


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("offset", [-5.0, 0.0, 3.0])
def test_a_value_that_gets_worse_never_counts_as_an_improvement(sign, offset):
    transform = s.reduce_on_plateau(factor=0.5, patience=2)
    state, best = transform.init(0.0), []
    for k in range(9):
        _, state = transform.update(1.0, state, value=offset + sign * 5e-5 * k)
        best.append(float(state.best))
    assert np.all(np.diff(best) <= 0)
    if sign > 0:
        assert float(state.scale) == 0.5**4
        assert float(state.best) == np.float32(offset)


def test_the_improvement_required_of_a_negative_value_is_relative_to_its_size():
    transform = s.reduce_on_plateau(factor=0.5, patience=1, rtol=0.1)
    for value, improved in ((-10.5, False), (-11.5, True)):
        state = transform.init(0.0)
        for loss in (-10.0, value):
            _, state = transform.update(1.0, state, value=loss)
        assert (float(state.scale) == 1.0) == improved


def torch_plateau(losses, factor, patience, threshold, cooldown):
    """PyTorch's ReduceLROnPlateau, mode "min", threshold_mode "rel", by its documented rule."""
    scale, best, bad, cooling, scales = 1.0, math.inf, 0, 0, []
    for loss in losses:
        if loss < best * (1 - threshold):
            best, bad = loss, 0
        else:
            bad += 1
        if cooling > 0:
            cooling, bad = cooling - 1, 0
        if bad > patience:
            scale, cooling, bad = scale * factor, cooldown, 0
        scales.append(scale)
    return scales


def keras_plateau(losses, factor, patience, min_delta, cooldown):
    """Keras's ReduceLROnPlateau, mode "min"."""
    scale, best, wait, cooling, scales = 1.0, math.inf, 0, 0, []
    for loss in losses:
        if cooling > 0:
            cooling, wait = cooling - 1, 0
        if loss < best - min_delta:
            best, wait = loss, 0
        elif cooling <= 0:
            wait += 1
            if wait >= patience:
                scale, cooling, wait = scale * factor, cooldown, 0
        scales.append(scale)
    return scales


@pytest.mark.parametrize("cooldown", [0, 1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_reduce_on_plateau_maps_to_pytorchs_and_kerass_as_the_docs_say(cooldown, seed):
    losses = 1 + np.random.default_rng(seed).uniform(0, 0.2, 80).round(3) + np.linspace(0.5, 0, 80)

    def scales(**arguments):
        transform = s.reduce_on_plateau(factor=0.5, **arguments)
        state, found = transform.init(1.0), []
        for loss in losses:
            _, state = transform.update(1.0, state, value=loss)
            found.append(float(state.scale))
        return found

    torch = torch_plateau(losses, 0.5, 2, 0.01, cooldown)
    assert scales(patience=3, rtol=0.01, cooldown=cooldown) == torch
    keras = keras_plateau(losses, 0.5, 3, 0.02, cooldown)
    assert scales(patience=3, rtol=0.0, atol=0.02, cooldown=max(cooldown - 1, 0)) == keras
    assert torch[-1] < 0.5
    assert keras[-1] < 0.5


# -- bad arguments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: s.cosine_decay(0.1, -5), "decay_steps=-5 is not valid: pass a number of steps above 0"),
        (lambda: s.cosine_decay(float("nan"), 5), "init_value=nan is not valid: pass a finite number"),
        (lambda: s.linear("fast", 0.0, transition_steps=5), "init_value='fast' is not valid: pass a finite number"),
        (lambda: s.constant("0.1"), "value='0.1' is not valid: pass a finite number"),
        (lambda: s.constant(True), "value=True is not valid"),
        (lambda: s.constant(None), "value=None is not valid"),
        (lambda: s.constant(1j), "value=1j is not valid"),
        (lambda: s.constant(np.ones(2)), r"value=\[1. 1.\] is not valid"),
        (
            lambda: s.multi_step(0.1, [20, 10], factor=0.5),
            r"boundaries=\[20, 10\] is not valid: pass .* ascending order",
        ),
        (lambda: s.multi_step(0.1, [5, float("nan")], factor=0.5), r"boundaries=\[5, nan\] is not valid"),
        (lambda: s.multi_step(0.1, 5, factor=0.5), "boundaries=5 is not valid"),
        (lambda: s.piecewise_constant(0.1, [-1], scales=[0.5]), r"boundaries=\[-1\] is not valid"),
        (lambda: s.piecewise_constant(1.0, [float("nan")], scales=[0.5]), r"boundaries=\[nan\] is not valid"),
        (lambda: s.piecewise_constant(1.0, {10: 0.5}, scales=[0.5]), "boundaries={10: 0.5} is not valid"),
        (lambda: s.piecewise_constant(1.0, [10], scales=[-0.5]), r"scales=\[-0.5\] is not valid"),
        (lambda: s.piecewise_constant(0.1, [10, 20], scales=[0.5]), "scales is not valid: pass a list of 2"),
        (lambda: s.piecewise_interpolate("cubic", 1.0, boundaries=[1], scales=[1]), "pass 'linear' or 'cosine'"),
        (lambda: s.cosine_onecycle(100, 0.1, div_factor=0), "div_factor=0 is not valid: pass a number above 0"),
        (
            lambda: s.cosine_onecycle(100, 0.1, pct_start=1.0),
            "pct_start=1.0 is not valid: pass a number between 0 and 1",
        ),
        (lambda: s.cosine_onecycle(10, 1.0, pct_start=0.6, three_phase=True), "pct_start=0.6 is not valid"),
        (lambda: s.cosine_onecycle(10, 1.0, pct_start=0.5, three_phase=True), "between 0 and 0.5, as three_phase"),
        (lambda: s.cosine_onecycle(10, 1.0, three_phase="yes"), "three_phase='yes' is not valid: pass True or False"),
        (
            lambda: s.linear_onecycle(20, 1.0, pct_start=0.8, pct_final=0.5),
            "pct_final=0.5 .* between pct_start=0.8 and 1",
        ),
        (lambda: s.linear_onecycle(20, 1.0, pct_start=0.5, pct_final=0.5), "pct_final=0.5 is not valid"),
        (lambda: s.linear_onecycle(20, 1.0, pct_final=1.0), "pct_final=1.0 is not valid"),
        (lambda: s.exponential_decay(0.1, 10, decay_rate=0.0), "decay_rate=0.0 is not valid: pass a number above 0"),
        (lambda: s.exponential_decay(0.1, 10, decay_rate=0.5, staircase=1), "staircase=1 is not valid"),
        (lambda: s.inverse_time_decay(0.1, 10, decay_rate=-1), "decay_rate=-1 is not valid"),
        (lambda: s.polynomial(0.1, 0.0, power=0, transition_steps=5), "power=0 is not valid"),
        (lambda: s.step_decay(0.1, 0, factor=0.5), "interval=0 is not valid"),
        (lambda: s.inverse_sqrt(0.1, 0), "timescale=0 is not valid"),
        (lambda: s.cosine_restarts(0.1, 10, period_multiplier=0.5), "period_multiplier=0.5 .* at least 1"),
        (lambda: s.cosine_restarts(0.1, 10, peak_multiplier=0), "peak_multiplier=0 is not valid"),
        (lambda: s.cyclic(0.0, 1.0, step_size_up=4, mode="square"), "mode='square' is not valid: pass 'triangular' or"),
        (lambda: s.cyclic(0.0, 1.0, step_size_up=4, step_size_down=0), "step_size_down=0 is not valid"),
        (lambda: s.warmup_constant(0.0, 1.0, warmup_steps=-1), "warmup_steps=-1 .* at least 0"),
        (lambda: s.warmup_cosine_decay(0.0, 1.0, warmup_steps=50, decay_steps=50), "decay_steps=50 .* warmup_steps=50"),
        (
            lambda: s.warmup_cosine_decay(0.0, 1.0, warmup_steps=np.int64(60), decay_steps=jnp.int32(50)),
            "is not valid: pass more than warmup_steps",
        ),
        (
            lambda: s.warmup_stable_decay(0, 1, warmup_steps=1, stable_steps=1, decay_steps=1, tail="sqrt"),
            "tail='sqrt' is not valid: pass 'linear' or 'cosine' or '1-sqrt'",
        ),
        (lambda: s.join([s.constant(1.0)], [3]), "schedules is not valid: pass a list of 2, as there are 1 boundaries"),
        (lambda: s.join([s.constant(1.0)] * 2, [float("nan")]), r"boundaries=\[nan\] is not valid"),
        (lambda: s.join([s.constant(1.0), 0.5], [3]), r"schedules\[1\]=0.5 is not valid: pass a schedule"),
        (lambda: s.scale(0.5, 2.0), "schedule=0.5 is not valid: pass a schedule"),
        (
            lambda: s.clip(s.constant(1.0), min_value=3.0, max_value=0.0),
            "min_value=3.0 is above max_value=0.0: swap them",
        ),
        (lambda: s.clip(s.constant(1.0), min_value=np.float32(3), max_value=np.float32(0)), "swap them"),
        (lambda: s.warmup(s.constant(1.0), -3), "steps=-3 is not valid"),
        (lambda: s.per_epoch(s.constant(1.0), 0), "steps_per_epoch=0 is not valid"),
        (
            lambda: s.select("cosin", {"cosine": s.constant(1.0)}),
            "kind='cosin' is not one of the schedules: pass 'cosine'",
        ),
        (lambda: s.select(5, {"a": s.constant(1.0)}), "kind=5 is not valid: pass a name, or a position from 0 to 0"),
        (lambda: s.select(np.int64(5), {"a": s.constant(1.0)}), "is not valid: pass a name"),
        (lambda: s.select(jnp.int32(-1), {"a": s.constant(1.0)}), "is not valid: pass a name"),
        (lambda: s.select(True, {"a": s.constant(1.0), "b": s.constant(2.0)}), "kind=True is not valid"),
        (lambda: s.select(0.5, {"a": s.constant(1.0), "b": s.constant(2.0)}), "kind=0.5 is not valid"),
        (lambda: jax.jit(lambda k: s.select(k, {"a": s.constant(1.0)})(0))(0.5), "is not valid: pass a name"),
        (lambda: s.select("a", {}), "schedules={} is not valid"),
        (lambda: s.table([]), "values is empty"),
        (lambda: s.table([[1.0, 2.0], [3.0, 4.0]]), "values=.* is not valid: pass a list of finite numbers"),
        (lambda: s.table(np.ones((2, 2))), "values=.* is not valid"),
        (lambda: s.table("12"), "values='12' is not valid"),
        (lambda: s.reduce_on_plateau(factor=2.0), "factor=2.0 is not valid: pass a number between 0 and 1"),
        (lambda: s.reduce_on_plateau(patience=2.5), "patience=2.5 is not valid: pass a whole number of at least 1"),
        (
            lambda: s.reduce_on_plateau(rtol=2.0),
            "rtol=2.0 is not valid: pass a number from 0 up to but not including 1",
        ),
        (lambda: s.reduce_on_plateau(cooldown=-1), "cooldown=-1 is not valid"),
        (lambda: s.reduce_on_plateau(accumulation_size=0), "accumulation_size=0 is not valid"),
        (lambda: s.reduce_on_plateau(min_scale=2), "min_scale=2 is not valid: pass a number from 0 to 1"),
    ],
)
def test_concrete_arguments_that_are_not_valid_are_refused_in_one_sentence(make, sentence):
    with pytest.raises(js.ConfigError, match=sentence) as caught:
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
        assert s.linear(0.1, 0.7, transition_steps=3)(1).dtype == jnp.float64
        assert float(s.linear(0.1, 0.7, transition_steps=3)(1)) == pytest.approx(0.3, rel=1e-15)


def test_the_table_in_the_docs_names_every_schedule():
    from pathlib import Path

    text = (Path(__file__).parent.parent / "docs" / "schedules.md").read_text()
    public = [name for name in vars(s) if name.islower() and not name.startswith("_") and callable(getattr(s, name))]
    assert [name for name in public if f"`{name}(" not in text] == []
