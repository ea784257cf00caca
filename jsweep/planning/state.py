"""A task's state taken apart: the arrays that a program carries, and what stays the same in every lane.

Model libraries keep functions and strings among a state's leaves, and transformations in the static part of its tree.
A program carries arrays only; everything else comes from one trace of ``init`` and is put back around each call. Where
that part holds traced values (the ``tx`` of a TrainState, say, with a learning rate in a lane), ``init`` is traced again
within each call, and only what is not an array is taken of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError

_ATTRIBUTES = (jax.tree_util.GetAttrKey, jax.tree_util.FlattenedIndexKey)


@dataclass(frozen=True)
class StateTemplate:
    """The tree of a state, with its leaves that are not arrays; None stands for an array.

    ``remade`` says that the static part holds values of the trace it was made in, and must be made again in another one.
    """

    tree: jax.tree_util.PyTreeDef
    static: tuple[Any, ...]
    remade: bool = False

    def arrays(self, state: PyTree) -> PyTree[Array]:
        """The arrays of a state that ``init`` made, in this template's tree, None elsewhere."""
        leaves = jax.tree.leaves(state)
        self._check_count(len(leaves))
        return jax.tree.unflatten(self.tree, [_array(leaf) if _is_array(leaf) else None for leaf in leaves])

    def again(self, state: PyTree) -> "StateTemplate":
        """The template of the state that ``init`` made again, in the trace that is under way."""
        made = template_of(state)
        self._check_count(len(made.static))
        return made

    def _check_count(self, leaves: int) -> None:
        if leaves != len(self.static):
            raise ConfigError(
                f"init returned a state of {leaves} leaves, and of {len(self.static)} when it was traced before: "
                "return the same structure each time."
            )

    def whole(self, arrays: PyTree[Array]) -> PyTree:
        """The state as the task knows it, from its arrays."""
        dynamic = iter(jax.tree.leaves(arrays))
        return jax.tree.unflatten(self.tree, [next(dynamic) if leaf is None else leaf for leaf in self.static])

    def updated(self, arrays: PyTree[Array], state: PyTree) -> PyTree[Array]:
        """The arrays of the state that ``step`` returned; ConfigError where it is not like the one it was given.

        They are in the tree of ``arrays``, which is another template's where this one was made again.
        """
        leaves, tree = jax.tree.flatten(state)
        before = jax.tree_util.tree_leaves_with_path(self.whole(arrays))
        if tree != self.tree:
            raise ConfigError(_difference(self.tree, tree, [p for p, _ in before], state))
        for (path, old), new in zip(before, leaves, strict=True):
            _check_leaf(jax.tree_util.keystr(path), old, new)
        carried = [_array(new) for old, new in zip(self.static, leaves, strict=True) if old is None]
        return jax.tree.unflatten(jax.tree.structure(arrays), carried)


def template_of(state: PyTree, *, remade: bool = False) -> StateTemplate:
    """What is static in a state that ``init`` returned."""
    leaves, tree = jax.tree.flatten(state)
    return StateTemplate(tree, tuple(None if _is_array(leaf) else leaf for leaf in leaves), remade)


def python_numbers(state: PyTree, static: Mapping[str, Value]) -> dict[str, str]:
    """The Python floats in ``state["params"]`` that are hyperparameters, by path: a config's values, and objects' attributes.

    Other floats in dicts, lists and tuples are parameters that need no array, as for `jax.grad`.
    """
    found: dict[str, str] = {}
    params = state.get("params") if isinstance(state, Mapping) else None
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if type(leaf) is float:
            names = [name for name, value in static.items() if value is leaf]
            is_attribute = bool(path) and isinstance(path[-1], _ATTRIBUTES)
            if names or is_attribute:
                found[jax.tree_util.keystr(path)] = f"config[{names[0]!r}]" if names else f"the number {leaf!r}"
    return found


def whole_numbers(state: PyTree) -> list[str]:
    """The Python ints and bools among a state's leaves, in words."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return [
        f"state{jax.tree_util.keystr(path)} is the number {leaf!r}"
        for path, leaf in leaves
        if type(leaf) in (int, bool)
    ]


def _difference(
    before: jax.tree_util.PyTreeDef, after: jax.tree_util.PyTreeDef, paths: list[jax.tree_util.KeyPath], state: PyTree
) -> str:
    """What is wrong with a state whose tree is another one after a step."""
    if paths == [path for path, _ in jax.tree_util.tree_leaves_with_path(state)]:
        return (
            "step returned a state whose static part (what is not an array, such as the tx and apply_fn of a TrainState) is "
            "not the one it was given: make it in init alone, and return it as it is."
        )
    return f"step returned a state of structure {after}, and was given one of {before}: return the same structure."


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float | complex)


def _array(leaf: Any) -> jax.Array:
    """A leaf as a strongly typed array: what a program carries must not change its type from step to step."""
    array = jnp.asarray(leaf)
    return array.astype(array.dtype) if not jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key) else array


def _check_leaf(path: str, old: Any, new: Any) -> None:
    if not _is_array(old) or not _is_array(new):
        if _is_array(old) or _is_array(new) or not _same(old, new):
            raise ConfigError(
                f"step changed state{path} from {old!r} to {new!r}, which is not an array: keep what is not an array as it is."
            )
        return
    before, after = (f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}" for leaf in (old, new))
    if before != after:
        raise ConfigError(f"step turned state{path} from {before} into {after}: keep shapes and types.")


def _same(old: Any, new: Any) -> bool:
    """Whether two static leaves are the same; functions that each call makes again are compared by their code."""
    if old is new:
        return True
    if callable(old) and callable(new):
        return getattr(old, "__code__", old) == getattr(new, "__code__", new)
    return bool(old == new)
