"""Choosing among options that are all computed, so that those not chosen affect neither values nor derivatives."""

from collections.abc import Callable, Sequence

import jax
import jax.core
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array, Bool, Int, PyTree

from jsweep.errors import ConfigError


def choose(position: Int[Array, ""], options: Sequence[Callable[[], PyTree]]) -> PyTree:
    """What ``options[position]()`` returns, where ``position`` is traced and every option is computed.

    Derivatives of any order are those of the chosen option alone: see `isolated`.

    Args:
        position: the number of an option, from 0; may differ between the lanes of a `jax.vmap`.
        options: functions without arguments; they return pytrees of one structure, whose leaves broadcast together.

    Returns:
        A pytree of that structure.
    """
    return pick(position, [isolated(option, position == number) for number, option in enumerate(options)])


def isolated(option: Callable[[], PyTree], chosen: Bool[Array, ""]) -> PyTree:
    """``option()``, which passes no derivatives on unless it is ``chosen``.

    An option that was not chosen gets a cotangent of zero; where its derivative is infinite or NaN, so is the product. What
    reaches the traced values that the option uses, those it closes over included, is therefore set to zero.
    """
    traced, shapes = jax.make_jaxpr(option, return_shape=True)()
    constants = [_gate(chosen, c) if _carries_derivatives(c) else c for c in traced.consts]
    leaves = core.jaxpr_as_fun(core.ClosedJaxpr(traced.jaxpr, constants))()
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def pick(position: Int[Array, ""], results: Sequence[PyTree]) -> PyTree:
    """``results[position]``, leaf by leaf, where ``position`` is traced."""
    return jax.tree.map(lambda *leaves: jax.lax.select_n(position, *_alike(leaves)), *results)


def _carries_derivatives(value: object) -> bool:
    return isinstance(value, jax.core.Tracer) and jnp.issubdtype(jnp.result_type(value), jnp.inexact)


@jax.custom_jvp
def _gate(chosen: Bool[Array, ""], x: Array) -> Array:
    """``x``, whose tangents and cotangents pass only where ``chosen``."""
    return x


@_gate.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[object, Array]) -> tuple[Array, Array]:
    (chosen, x), (_, tangent) = primals, tangents
    return _gate(chosen, x), jnp.where(chosen, tangent, jnp.zeros_like(tangent))


def _alike(leaves: Sequence[Array]) -> list[Array]:
    """The leaves in one type; ConfigError where an option would go on as another array than it is alone."""
    arrays = [jnp.asarray(leaf) for leaf in leaves]
    floats = {str(a.dtype) for a in arrays if jnp.issubdtype(a.dtype, jnp.floating) and not a.weak_type}
    shapes = {str(a.shape) for a in arrays}
    for found in (floats, shapes):
        if len(found) > 1:
            raise ConfigError(
                f"the options return {' and '.join(sorted(found))}: return arrays of equal shape and type."
            )
    return [array.astype(jnp.result_type(*arrays)) for array in arrays]
