"""Values that ride in lanes although Python could not trace them: a choice among names, carried as a traced code."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jsweep.errors import ConfigError


def code_of(name: str) -> int:
    """The number a name travels as: its CRC-32, so that a program does not depend on which names a sweep has."""
    return zlib.crc32(name.encode())


class ChoiceUsedAsText(TypeError):
    """A choice in a lane was used as a string, which only a static value can be."""


class Choice:
    """A swept string in a lane: different lanes hold different names, so it can only be handed to a ``select``.

    ``code`` is the traced code of this lane's name; ``names`` are all the names the sweep has for it.
    """

    def __init__(self, code: jax.Array, names: Sequence[str]):
        self.code = code
        self.names = tuple(names)

    def position(self, options: Sequence[str]) -> jax.Array:
        """The traced position of this lane's name in ``options``; ConfigError where a name is not among them."""
        for name in self.names:
            if name not in options:
                raise ConfigError(
                    f"{name!r} is none of the options {', '.join(options)}: add it to them or leave it out."
                )
        codes = np.array([code_of(option) for option in options], np.uint32)
        return jnp.argmax(self.code == codes).astype(jnp.int32)

    def _as_text(self, *_: Any) -> Any:
        raise ChoiceUsedAsText("compared or printed as a string")

    __eq__ = __ne__ = __str__ = __repr__ = __bool__ = __len__ = __iter__ = __getitem__ = __add__ = _as_text
    __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __format__ = __hash__ = _as_text  # pyright: ignore


class WidthUsedAsNumber(TypeError):
    """A width in a lane was used as a Python number, which only a static value can be."""


class Width:
    """A swept width in a lane: arrays are made for the widest, ``most`` units, and those past ``size`` are masked.

    ``size`` is traced; `jsweep.models.init_mlp` and `apply_mlp` take a Width wherever they take a number of units. For
    layers of your own: make arrays ``most`` wide, zero what lies past ``size`` at the start, and multiply by `mask`
    after every activation; masked units then contribute exactly nothing and receive no gradient.
    """

    def __init__(self, size: jax.Array, most: int):
        self.size, self.most = size, most
        self.masked = 0  # times its mask was asked for

    def mask(self) -> jax.Array:
        """Which of the ``most`` units there are: bool, shape (most,)."""
        self.masked += 1
        return jnp.arange(self.most) < self.size

    def _as_number(self, *_: Any) -> Any:
        raise WidthUsedAsNumber("a width in a lane has no Python value")

    __index__ = __int__ = __float__ = __bool__ = __add__ = __radd__ = __sub__ = __rsub__ = _as_number
    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __floordiv__ = __lt__ = __le__ = __gt__ = __ge__ = _as_number


def select(kind: Any, options: Mapping[str, Callable]) -> Callable:
    """The function of ``options`` that ``kind`` names; where ``kind`` is a lane's choice, each lane has its own.

    With a plain string this is ``options[kind]``. With a choice every option is computed and each lane keeps its own,
    so one compiled program serves all of them: cheap for activations and schedules, not for whole models. The options
    must return arrays of the same shapes and types.

    >>> import jax
    >>> float(select("relu", {"relu": jax.nn.relu, "tanh": jax.numpy.tanh})(-1.0))
    0.0
    """
    names = list(options)
    if isinstance(kind, str):
        if kind not in options:
            raise ConfigError(f"{kind!r} is none of the options {', '.join(names)}: name one of them.")
        return options[kind]
    position = kind.position(names) if isinstance(kind, Choice) else kind

    def selected(*arguments: Any, **named: Any) -> Any:
        results = [option(*arguments, **named) for option in options.values()]
        return jax.tree.map(lambda *leaves: jax.lax.select_n(position, *_alike(leaves)), *results)

    return selected


def select_optimizer(kind: Any, options: Mapping[str, optax.GradientTransformation]) -> optax.GradientTransformation:
    """The optax transformation of ``options`` that ``kind`` names; lanes may differ in it within one program.

    With a plain string this is ``options[kind]``. With a lane's choice the state holds every option's state, all are
    updated from the same gradients, and each lane applies the updates of its own.
    """
    if isinstance(kind, str):
        return select(kind, options)  # pyright: ignore[reportArgumentType, reportReturnType]
    transforms = {name: optax.with_extra_args_support(option) for name, option in options.items()}

    def init(params: Any) -> dict[str, Any]:
        return {name: transform.init(params) for name, transform in transforms.items()}

    def update(updates: Any, state: dict[str, Any], params: Any = None, **extra: Any) -> tuple[Any, dict[str, Any]]:
        outcomes = {
            name: transform.update(updates, state[name], params, **extra) for name, transform in transforms.items()
        }
        chosen = select(kind, {name: (lambda u=outcome[0]: u) for name, outcome in outcomes.items()})()
        return chosen, {name: outcome[1] for name, outcome in outcomes.items()}

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def _alike(leaves: Sequence[Any]) -> list[jax.Array]:
    arrays = [jnp.asarray(leaf) for leaf in leaves]
    dtype = jnp.result_type(*arrays)
    return [jnp.broadcast_to(array, jnp.broadcast_shapes(*(a.shape for a in arrays))).astype(dtype) for array in arrays]
