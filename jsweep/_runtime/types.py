"""Types that several packages share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, SupportsFloat, TypeAlias

Value: TypeAlias = (
    bool | int | float | str | Callable[..., Any] | Sequence[Any] | Mapping[str, Any] | SupportsFloat | None
)
"""What a config holds under a name; scalars of NumPy and JAX stand for Python's."""

Mode = Literal["min", "max"]
"""Which values of a metric are better: the smallest or the largest."""
