"""Types that several packages share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

Value: TypeAlias = bool | int | float | str | Callable[..., Any] | Sequence[Any] | Mapping[str, Any] | None
"""What a config holds under a name."""

Mode = Literal["min", "max"]
"""Which values of a metric are better: the smallest or the largest."""
