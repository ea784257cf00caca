"""A sweep's settings: how it is read and what it has settled. A store may come from anywhere, so each is checked."""

from collections.abc import Callable, Mapping
from typing import Any

from jsweep.storage.records import JsonObject

Check = Callable[[Any], bool]


def checked_settings(settings: JsonObject) -> JsonObject:
    """The settings; ValueError, which names the first, where one is not of the type that jsweep writes."""
    for name, check in _CHECKS.items():
        if name in settings and not check(settings[name]):
            raise ValueError(f"the setting {name!r} is not what jsweep writes")
    return settings


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_mode(value: Any) -> bool:
    return value in (None, "min", "max")


def _is_objective(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, Mapping) and _is_text(value.get("metric")) and _is_mode(value.get("mode"))


def _list(of: Check, length: int | None = None) -> Check:
    return lambda value: isinstance(value, list) and (length in (None, len(value))) and all(map(of, value))


def _dict(of: Check) -> Check:
    return lambda value: isinstance(value, Mapping) and all(map(of, value.values()))


def _is_function(value: Any) -> bool:
    """Whether this is a function's part of a program's identity: its digest and its marks."""
    return isinstance(value, list) and len(value) == 2 and _is_text(value[0]) and _list(_is_text)(value[1])


def _is_said(value: Any) -> bool:
    """Whether this is an objective as a pair: its metric and its mode."""
    return isinstance(value, list) and len(value) == 2 and _is_text(value[0]) and value[1] in ("min", "max")


def _is_search(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    batch = value.get("batch", 0)
    return _is_whole(batch) and batch > 0 and _list(_is_said)(value.get("objectives"))


def _is_copy(value: Any) -> bool:
    """Whether this is a copy: the step, the config, its source, and its new values."""
    if not isinstance(value, list) or len(value) != 4:
        return False
    step, config, source, values = value
    return _is_whole(step) and step > 0 and _is_text(config) and _is_text(source) and _dict(_is_number)(values)


def _is_clone(value: Any) -> bool:
    """Whether this is a clone: its source, and its new values."""
    if not isinstance(value, list) or len(value) != 2 or not _is_text(value[0]) or not isinstance(value[1], dict):
        return False
    return all(isinstance(each, int | float | str) for each in value[1].values())


_CHECKS: Mapping[str, Check] = {
    "metrics": _list(_is_text),
    "objective": _is_objective,
    "objectives": _list(_is_said),
    "search": _is_search,
    "modes": _dict(_is_mode),
    "roles": _dict(_list(_is_text, 2)),  # a kind and a reason
    "lane_types": _dict(_list(_is_text)),
    "buckets": _dict(_list(_list(_is_whole, 2))),  # a size and what it is padded to
    "programs": _dict(_list(_is_function, 3)),  # init, step and evaluate
    "seconds": _is_number,
    "stop_requests": _is_whole,
    "copies": _list(_is_copy),
    "clones": _list(_is_clone),
}
