"""The private names of JAX that jsweep uses, and nothing else in the package: each with its reason and what it holds up.

A release of JAX that moves one of these breaks this file alone; ``tests/test_compilation_cache.py`` and
``tests/test_engine.py`` fail then.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from jax._src import config as _config
from jax._src import distributed as _distributed
from jax._src import xla_bridge as _xla_bridge
from jax._src.interpreters import partial_eval as partial_eval_internals
from jax.experimental.compilation_cache import compilation_cache as _compilation_cache
from jax.extend import core
from jax.interpreters import partial_eval


def backend_started() -> bool:
    """Whether JAX has started a backend in this process, after which ``XLA_FLAGS`` is no longer read.

    JAX has no public way to ask without starting one. Without it, `jsweep.configure` could not tell that its flag comes
    too late, and programs would be compiled with wrong reductions where jaxlib has them.
    """
    return _xla_bridge.backends_are_initialized()


@contextmanager
def persistent_cache(folder: Path) -> Iterator[None]:
    """Let compilations of the calling thread use JAX's persistent cache in ``folder``.

    ``jax.config.update`` would set the folder for the whole process; only the private context managers are
    thread-local. Without them, jsweep's cache would also hold every program that the user compiles.
    """
    with (
        _config.compilation_cache_dir(str(folder)),
        _config.persistent_cache_min_compile_time_secs(0.0),
        _config.persistent_cache_min_entry_size_bytes(-1),
    ):
        yield


def close_persistent_cache() -> None:
    """Make JAX forget the cache folder that its last compilations used.

    JAX opens a cache once a process and then uses it for every later compilation. The function is in
    ``jax.experimental``; without it, the user's own programs would be written to jsweep's folder after the first sweep.
    """
    _compilation_cache.reset_cache()


class KeyValueStore(Protocol):
    """What jsweep uses of the client of JAX's coordination service."""

    def key_value_set_bytes(self, key: str, value: bytes, /) -> object: ...

    def blocking_key_value_get_bytes(self, key: str, timeout_ms: int, /) -> bytes: ...

    def key_value_delete(self, key: str, /) -> object: ...


def key_value_store() -> KeyValueStore | None:
    """The key-value store that the processes of `jax.distributed` share; None where that is not initialized.

    JAX has no public way to send bytes between processes but collectives, in which all take part at once. Without it,
    `jsweep.distributed` could not send tiles to whichever process is free.
    """
    return _distributed.global_state.client


def generator_name(dtype: object) -> str:
    """The name of the random-number generator of a typed key's dtype, such as "threefry2x32".

    `jax.random.key_impl` takes arrays only, and jsweep has the shape of a state before it has the state. Without it,
    states that hold typed keys could be neither timed nor restored from checkpoints.
    """
    return str(dtype._impl.name)  # pyright: ignore[reportAttributeAccessIssue]


def bind_equation(equation: core.JaxprEqn, arrays: Sequence[Any], params: Mapping[str, object]) -> Sequence[Any]:
    """Apply a traced operation to other arrays, with other parameters, in the context it was traced in.

    Arrays and results may be references to arrays, too.

    ``ctx`` holds the settings of the trace (such as the precision of products), and ``get_bind_params`` rebuilds the
    functions that loops and branches are called with. Without them, steps with loops could not be rewritten for the CPU.
    """
    primitive = equation.primitive
    with equation.ctx.manager:
        results = primitive.bind(*arrays, **primitive.get_bind_params(dict(params)))
    return results if primitive.multiple_results else [results]


def used_inputs(jaxpr: core.Jaxpr, outputs: Sequence[bool] | None = None) -> list[bool]:
    """For each input of a jaxpr whether one of ``outputs`` (default: any), or an effect, depends on it.

    JAX has no public way to ask. Without it a lane that a task reads and throws away would go unnoticed.
    """
    _, used = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars) if outputs is None else list(outputs))
    return [bool(each) for each in used]


def without_first_input(closed: core.ClosedJaxpr) -> core.ClosedJaxpr:
    """A jaxpr without its first input, on which nothing depends, and without the operations that went with it.

    JAX has no public way to remove either. Without it, every step would begin with an initialisation of no effect.
    """
    jaxpr = closed.jaxpr
    if any(equation.invars and jaxpr.invars[0] in equation.invars for equation in jaxpr.eqns):
        rest = [True] * (len(jaxpr.invars) - 1)
        jaxpr, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars), [False, *rest])
        return core.ClosedJaxpr(jaxpr, closed.consts)
    return core.ClosedJaxpr(jaxpr.replace(invars=jaxpr.invars[1:]), closed.consts)


def draws_in_any_order(equation: core.JaxprEqn) -> bool:
    """Whether random bits of this operation are those of ``jax_threefry_partitionable``, as they are by default.

    A trace keeps that setting in ``ctx`` alone. Without it, two programs that draw other numbers would count as one.
    """
    return bool(equation.ctx.threefry_partitionable)


def loop_constants(equation: core.JaxprEqn) -> int:
    """How many of a scan's first operands are given to every round unchanged.

    JAX 0.11 moved the number into a private tree. Without it, numbers in lanes would be lost sight of in loops.
    """
    tree = equation.params.get("ft_in")
    return equation.params["num_consts"] if tree is None else len(tree.unpack()[0].vals)


def drop_traces(mark: object) -> None:
    """Make JAX forget what it traced of jitted functions under a user context whose value is ``mark``.

    JAX keeps such traces without bound for as long as the function lives, those of `jax.numpy` for ever. Without it, each
    plan would leave some 2 MB behind.
    """
    traces: Any = partial_eval_internals.trace_to_jaxpr
    for function, context, *_ in traces.cache_keys():
        alive = function() if any(part is mark for part in context) else None
        if alive is not None:
            traces.evict_weakref(alive)
