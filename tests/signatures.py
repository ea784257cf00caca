"""How the tests check signatures at run time: with beartype, where an int passes for a float, as type checkers have it."""

import threading
from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException


class WrongType(UserWarning):
    """A call does not agree with the signature. It is an error but in tests that pass wrong types on purpose."""


_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=WrongType))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check every call of ``function``, unless its annotations mean nothing at run time: ``Self``, or a protocol.

    Functions that are made in worker threads are not checked: beartype sets aside the warnings of the whole process while it
    looks at a function, so that those of other threads would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        return function
    try:
        return _beartype(function)
    except BeartypeDecorHintException:
        return function
