"""Trials narrowed to configs whose values match."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jsweep.errors import ConfigError, UnknownNameError
from jsweep.space import encode, format_value
from jsweep.storage import Trial


def matching(trials: Sequence[Trial], filters: Mapping[str, Any], sweep: str) -> list[Trial]:
    """The trials whose configs match every filter; see `Result.where`.

    Raises:
        UnknownNameError: No config has a name.
        ConfigError: No config matches.
    """
    known = dict.fromkeys(name for trial in trials for name in trial.config)
    for name in filters:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), n=1)
            hint = f" (the closest is {close[0]!r})" if close else ""
            raise UnknownNameError(f"no config of {sweep!r} has {name!r}: they have {', '.join(known)}{hint}.")
    left = list(trials)
    for name, wanted in filters.items():
        having = [trial for trial in left if name in trial.config]
        test = _test_of(wanted, [trial.config[name] for trial in having])
        kept = [trial for trial in having if test(trial.config[name])]
        if not kept:
            shown = list(dict.fromkeys(format_value(trial.config[name]) for trial in having))
            values = ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "")
            raise ConfigError(
                f"no config of {sweep!r} matches the filter on {name!r}: its values are {values or 'none'}."
            )
        left = kept
    return left


def _test_of(wanted: Any, values: Sequence[Any]) -> Callable[[Any], bool]:
    """The test that a filter stands for: a value to equal, a list of them, or a predicate."""
    own = _recorded(wanted)
    if callable(wanted) and all(_recorded(value) != own for value in values):
        return lambda value: bool(wanted(value))
    if isinstance(wanted, list | set | frozenset | range):
        options = [_recorded(option) for option in wanted]
        return lambda value: _recorded(value) in options or _recorded(value) == own
    return lambda value: bool(_recorded(value) == own)


def _recorded(value: Any) -> Any:
    """A value as a record holds it, functions by name and NumPy's numbers as Python's; itself where none could."""
    try:
        return encode(value)
    except ConfigError:
        return value
