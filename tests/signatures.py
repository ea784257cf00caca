"""How the tests check signatures at run time: with beartype, where an int passes for a float, as type checkers have it."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException


class WrongType(UserWarning):
    """A call does not agree with the signature. It is an error but in tests that pass wrong types on purpose."""


_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=WrongType))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check every call of ``function``, unless its annotations mean nothing at run time: ``Self``, or a protocol."""
    try:
        return _beartype(function)
    except BeartypeDecorHintException:
        return function
