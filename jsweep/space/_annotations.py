"""Where a user decides: this name in a lane, or that one compiled in; unsaid, tracing decides."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Annotated:
    """A part of a space with the role its name is annotations to have: "lane", or "static" of compilation."""

    role: Literal["lane", "static"]
    part: Any


def lane(part: Any) -> Annotated:
    """This name's values must ride in lanes of one program; a sweep in which they cannot is refused with the reason.

    >>> grid({"learning_rate": lane([0.1, 0.3])}).annotations
    {'learning_rate': 'lane'}
    """
    return Annotated("lane", part)


def static(part: Any) -> Annotated:
    """This name's values are compiled in, one program each, even where they would trace.

    >>> grid({"momentum": static([0.0, 0.9])}).annotations
    {'momentum': 'static'}
    """
    return Annotated("static", part)
