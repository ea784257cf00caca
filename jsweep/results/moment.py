"""Answers from one moment of a record, whatever is written to it meanwhile."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Concatenate, ParamSpec, Protocol, TypeVar


class _Readable(Protocol):
    def snapshot(self) -> AbstractContextManager[None]: ...


_S = TypeVar("_S", bound=_Readable)
_P = ParamSpec("_P")
_R = TypeVar("_R")


def of_one_moment(method: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """A method whose every look at the record is at the same moment of it."""

    @functools.wraps(method)
    def looking(self: _S, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self.snapshot():
            return method(self, *args, **kwargs)

    return looking
