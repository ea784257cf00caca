"""Annotations with which a user decides a name's role; without one, tracing the task decides."""

from dataclasses import dataclass
from typing import Literal

from jsweep.space._conditions import Written

Annotation = Literal["lane", "static"]


@dataclass(frozen=True)
class Annotated:
    """A part of a space with the role that its name must have."""

    role: Annotation
    part: Written


def lane(part: Written) -> Annotated:
    """Require that a name's values ride in the lanes of one program.

    A sweep in which they cannot is refused, with the reason.

    >>> import jsweep as js
    >>> js.grid({"learning_rate": js.lane([0.1, 0.3])}).annotations
    {'learning_rate': 'lane'}
    """
    return Annotated("lane", part)


def static(part: Written) -> Annotated:
    """Compile a name's values into the program, one program for each value, even where they could be lanes.

    >>> import jsweep as js
    >>> js.grid({"momentum": js.static([0.0, 0.9])}).annotations
    {'momentum': 'static'}
    """
    return Annotated("static", part)
