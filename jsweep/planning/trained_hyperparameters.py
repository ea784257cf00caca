"""Trained parameters that start as a hyperparameter's own value.

A number that a module keeps beside its weights (a dropout rate, say) is a leaf of the parameters like any other, so the
optimizer trains it. That may be meant (a temperature that is learned) and often is not, so it is said and not refused.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from jsweep._runtime.jax_internals import generator_name, used_inputs
from jsweep.planning.groups import Group
from jsweep.planning.traced import Traced, shape_of

_PASSED_THROUGH = frozenset(
    {"convert_element_type", "broadcast_in_dim", "reshape", "squeeze", "copy", "copy_p", "reduce_precision"}
)


def trained_hyperparameters(groups: Iterable[Group]) -> dict[str, str]:
    """For each trained scalar among the parameters that is a hyperparameter, by its path, what it starts as.

    Parameters are those in ``state["params"]``. One counts as trained where a step changes it, be it by weight decay. Arrays
    that are filled with a hyperparameter are left out: that is how parameters are initialised.
    """
    found: dict[str, str] = {}
    for group in groups:
        for number, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(group.traced.state)):
            if not _is_scalar_parameter(path, leaf):
                continue
            name = jax.tree_util.keystr(path[1:])
            start = _lane_of(group.traced, number) or group.traced.numbers.get(name)
            if start is not None and name not in found and _is_trained(group.traced, number):
                found[name] = start
    return found


def _is_scalar_parameter(path: jax.tree_util.KeyPath, leaf: jax.ShapeDtypeStruct) -> bool:
    in_params = isinstance(path[0], jax.tree_util.DictKey) and path[0].key == "params" if path else False
    return in_params and leaf.shape == () and jnp.issubdtype(leaf.dtype, jnp.inexact)


def _lane_of(traced: Traced, number: int) -> str | None:
    source = _source(traced.init.jaxpr, traced.init.jaxpr.outvars[number])
    return f"config[{traced.lanes[source]!r}]" if source is not None and source < len(traced.lanes) else None


def _source(jaxpr: core.Jaxpr, value: core.Var | core.Literal) -> int | None:
    """The number of the input that a value is, cast or reshaped at most; None where it is computed."""
    made_by = {v: (equation, place) for equation in jaxpr.eqns for place, v in enumerate(equation.outvars)}
    while not isinstance(value, core.Literal) and value in made_by:
        equation, place = made_by[value]
        inner = equation.params.get("jaxpr")
        if equation.primitive.name in ("jit", "pjit") and inner is not None:
            source = _source(inner.jaxpr, inner.jaxpr.outvars[place])
            if source is None:
                return None
            value = equation.invars[source]
        elif equation.primitive.name in _PASSED_THROUGH and shape_of(equation.outvars[0]) == ():
            value = equation.invars[0]
        else:
            return None
    return next((number for number, v in enumerate(jaxpr.invars) if v is value), None)


def _is_trained(traced: Traced, number: int) -> bool:
    """Whether a step changes a leaf of the state: by what it learns from the batch, or else when it is tried."""
    outputs = [place == number for place in range(len(traced.step.jaxpr.outvars))]
    used = used_inputs(traced.step.jaxpr, outputs)
    state = len(traced.lanes) + len(jax.tree.leaves(traced.state))
    if any(used[state:]):  # the batch and the key
        return True
    inputs = [_example(v) for v in traced.step.jaxpr.invars]
    for place in (*range(len(traced.lanes)), len(traced.lanes) + number):
        inputs[place] = jnp.full_like(inputs[place], 0.375 if jnp.issubdtype(inputs[place].dtype, jnp.inexact) else 1)
    after = jax.jit(lambda: core.jaxpr_as_fun(traced.step)(*inputs)[number])()
    return bool(after != inputs[len(traced.lanes) + number])


def _example(value: core.Var) -> jax.Array:
    """An input to try a step with: counts of steps above 0, and zeros."""
    dtype = getattr(value.aval, "dtype", np.float32)
    if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0, impl=generator_name(dtype)), shape_of(value))
    return jnp.full(shape_of(value), 3 if jnp.issubdtype(dtype, jnp.integer) and not shape_of(value) else 0, dtype)
