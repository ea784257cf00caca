"""Values that ride in lanes although Python could not trace them: a choice among names, and a width."""

import operator
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Int, PyTree, UInt32

from jsweep._runtime.options import choose, isolated, pick
from jsweep.errors import ConfigError

Option = TypeVar("Option")


def code_of(name: str) -> int:
    """The number a name travels as: its CRC-32, so that a program does not depend on which names a sweep has."""
    return zlib.crc32(name.encode())


class ChoiceUsedAsText(TypeError):
    """A choice in a lane was used as a string, which only a static value can be."""


class Choice:
    """A swept string in a lane: different lanes hold different names, so it can only be passed to a ``select``.

    Comparing, hashing or printing one raises `ChoiceUsedAsText`. A Choice is a pytree whose one leaf is ``code``.

    Args:
        code: the code of this lane's name, traced.
        names: all the names that the sweep has for it.

    Raises:
        ConfigError: if two of the names have the same code.
    """

    def __init__(self, code: UInt32[Array, ""], names: Sequence[str]):
        self.code = code
        self.names = tuple(names)
        _check_told_apart(self.names)

    def position(self, options: Sequence[str]) -> Int[Array, ""]:
        """The traced position of this lane's name in ``options``; ConfigError if one of ``names`` is not among them."""
        for name in self.names:
            if name not in options:
                raise ConfigError(
                    f"{name!r} is not one of the options {', '.join(options)}: add it, or do not sweep it."
                )
        _check_told_apart(options)
        codes = np.array([code_of(option) for option in options], np.uint32)
        return jnp.argmax(self.code == codes).astype(jnp.int32)

    # isinstance(choice, str) holds, as it does for the names; unlike a subclass, no function in C takes it for text
    __class__ = property(lambda self: str)  # pyright: ignore

    def _as_text(self, *_: object) -> NoReturn:
        raise ChoiceUsedAsText("a choice in a lane was compared, hashed or printed as a string")

    __eq__ = __ne__ = __str__ = __repr__ = __bool__ = __len__ = __iter__ = __getitem__ = __add__ = __radd__ = _as_text
    __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __format__ = __hash__ = __mod__ = _as_text  # pyright: ignore


def _check_told_apart(names: Sequence[str]) -> None:
    by_code: dict[int, str] = {}
    for name in names:
        other = by_code.setdefault(code_of(name), name)
        if other != name:
            raise ConfigError(
                f"the names {other!r} and {name!r} cannot be told apart in a lane, as their CRC-32 is the same: "
                "rename one, or make them static with js.static."
            )


class WidthUsedAsNumber(TypeError):
    """A width in a lane was used as a Python number, which only a static value can be."""


class Width:
    """A swept width in a lane: arrays are made for the widest, ``most`` units, and those past ``size`` are masked.

    `jsweep.models.init_mlp` and `apply_mlp` take a Width wherever they take a number of units. For layers of your own:
    make arrays ``most`` wide, zero what lies past ``size`` at the start, and multiply by `mask` after every activation;
    masked units then contribute exactly nothing and receive no gradient. Arithmetic with a Width, comparing, hashing or
    printing one raises `WidthUsedAsNumber`. A Width is a pytree whose one leaf is ``size``.

    Args:
        size: the units of this lane, traced.
        most: the units that arrays are made for.
    """

    def __init__(self, size: Int[Array, ""], most: int):
        self.size, self.most = size, most
        self._uses = _Uses()

    @property
    def masked(self) -> int:
        """How often the mask of this width was asked for, by functions that were traced with it as an argument too."""
        return self._uses.count

    def mask(self) -> Bool[Array, " most"]:
        """Which of the ``most`` units there are."""
        self._uses.count += 1
        return jnp.arange(self.most) < self.size

    __class__ = property(lambda self: int)  # pyright: ignore  # as for a Choice

    def _as_number(self, *_: object) -> NoReturn:
        raise WidthUsedAsNumber("a width in a lane was used as a Python number")

    __index__ = __int__ = __float__ = __complex__ = __bool__ = __round__ = __trunc__ = __floor__ = __ceil__ = _as_number
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _as_number
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __divmod__ = __rdivmod__ = __pow__ = __rpow__ = _as_number
    __neg__ = __pos__ = __abs__ = __invert__ = __lshift__ = __rshift__ = __and__ = __or__ = __xor__ = _as_number
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _as_number  # pyright: ignore
    __str__ = __repr__ = __format__ = _as_number  # pyright: ignore


class _Uses:
    """A count that copies of a Width share; it is no part of a pytree's structure, so all are equal."""

    def __init__(self) -> None:
        self.count = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Uses)

    def __hash__(self) -> int:
        return hash(_Uses)


def _unflatten_choice(names: tuple[str, ...], children: Iterable[Any]) -> Choice:
    choice = Choice.__new__(Choice)
    (choice.code,), choice.names = children, names
    return choice


def _unflatten_width(static: tuple[int, _Uses], children: Iterable[Any]) -> Width:
    width = Width.__new__(Width)
    (width.size,), (width.most, width._uses) = children, static
    return width


jax.tree_util.register_pytree_with_keys(
    Choice, lambda choice: (((jax.tree_util.GetAttrKey("code"), choice.code),), choice.names), _unflatten_choice
)
jax.tree_util.register_pytree_with_keys(
    Width,
    lambda width: (((jax.tree_util.GetAttrKey("size"), width.size),), (width.most, width._uses)),
    _unflatten_width,
)


def select(kind: "str | Choice | int | Int[Array, '']", options: Mapping[str, Callable[..., PyTree]]) -> Callable:
    """The function of ``options`` that ``kind`` names; where ``kind`` is a lane's choice, each lane has its own.

    With a plain string this is ``options[kind]``. With a choice every option is computed and each lane keeps its own, so
    that one compiled program serves all of them: cheap for activations and schedules, not for whole models. An option that
    a lane did not choose affects neither its values nor its derivatives, even where those of the option are infinite or NaN.

    Args:
        kind: a name, a swept name as the config holds it, or a position in ``options``, which may be traced; a traced
            position out of range takes the nearest.
        options: functions by name; they return arrays of the same shapes and types.

    Returns:
        A function of the options' arguments.

    Raises:
        ConfigError: if ``kind``, or a name that the sweep has for it, is not among the options.

    >>> import jax
    >>> float(select("relu", {"relu": jax.nn.relu, "tanh": jax.numpy.tanh})(-1.0))
    0.0
    """
    chosen = _chosen(kind, options)
    if not isinstance(chosen, jax.Array):
        return chosen

    def selected(*arguments: Any, **named: Any) -> PyTree:
        thunks = [lambda option=option: option(*arguments, **named) for option in options.values()]
        return choose(chosen, thunks)

    return selected


def select_optimizer(
    kind: "str | Choice | int | Int[Array, '']", options: Mapping[str, optax.GradientTransformation]
) -> optax.GradientTransformation:
    """The optax transformation of ``options`` that ``kind`` names; lanes may differ in it within one program.

    With a plain string this is ``options[kind]``. With a lane's choice the state holds every option's state, all are
    updated from the same gradients, and each lane applies the updates of its own.

    Args:
        kind: a name, a swept name as the config holds it, or a position in ``options``, which may be traced.
        options: optax transformations by name.

    Returns:
        An optax transformation.

    Raises:
        ConfigError: if ``kind``, or a name that the sweep has for it, is not among the options.
    """
    chosen = _chosen(kind, options)
    if not isinstance(chosen, jax.Array):
        return chosen
    transforms = {name: optax.with_extra_args_support(option) for name, option in options.items()}

    def init(params: PyTree) -> dict[str, PyTree]:
        return {name: transform.init(params) for name, transform in transforms.items()}

    def update(
        updates: PyTree, state: dict[str, PyTree], params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, dict[str, PyTree]]:
        outcomes = [
            isolated(lambda t=transform, s=state[name]: t.update(updates, s, params, **extra), chosen == number)
            for number, (name, transform) in enumerate(transforms.items())
        ]
        states = {name: outcome[1] for name, outcome in zip(transforms, outcomes, strict=True)}
        return pick(chosen, [outcome[0] for outcome in outcomes]), states

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def _chosen(kind: "str | Choice | int | Int[Array, '']", options: Mapping[str, Option]) -> "Option | Int[Array, '']":
    """The option itself where ``kind`` is known, else its traced position."""
    names = list(options)
    if isinstance(kind, Choice):
        return kind.position(names)
    if isinstance(kind, str):
        if kind not in options:
            raise ConfigError(f"{kind!r} is not one of the options {', '.join(names)}: pass one of these names.")
        return options[kind]
    if isinstance(kind, jax.Array):
        return jnp.clip(kind, 0, len(names) - 1).astype(jnp.int32)
    if not 0 <= operator.index(kind) < len(names):
        raise ConfigError(f"kind={kind} is not valid: pass a position from 0 to {len(names) - 1}.")
    return options[names[kind]]
