"""Values as JSON, exactly: what a config's identity is made of and what a record holds."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import isfinite
from typing import Any, TypeAlias, cast

import numpy as np

from jsweep._runtime.types import Value
from jsweep.errors import ConfigError
from jsweep.space._named import Named, name_of

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""What `json.loads` returns."""

_NONFINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_AS_THEY_ARE = frozenset((bool, int, str, type(None)))  # in JSON
_FLAT = _AS_THEY_ARE | {float}
_PLAIN = _FLAT | {Named}


def encode(value: object) -> Json:
    """``value`` as data for JSON, from which `decode` restores it exactly.

    Numbers (integers and floats stay apart, floats keep every bit), bools, None and strings stand for themselves;
    NumPy and JAX scalars become Python's. A list stays a list, a tuple becomes ``{"tuple": [...]}``, a dict
    ``{"dict": {...}}``, a callable ``{"callable": "module:qualname"}``, an infinity or NaN ``{"float": "inf"}``. Raises
    ConfigError for anything else, and for callables that their module does not hold under a name of their own
    (lambdas, inner functions, partials).

    >>> encode((64, 0.1))
    {'tuple': [64, 0.1]}
    """
    return _encoded(plain(value))


def encode_config(config: Mapping[str, Value]) -> dict[str, Json]:
    """A config as data for JSON: each value by `encode`, with its names in their order."""
    plain_or_encoded: dict[str, Any] = {
        name: value
        if type(value) in _AS_THEY_ARE or (type(value) is float and isfinite(cast(float, value)))
        else encode(value)
        for name, value in config.items()
    }
    return plain_or_encoded


def json_encoder(sort_keys: bool) -> Callable[[Json], str]:
    """A function that writes JSON without spaces; `json.dumps` would make an encoder anew for each text."""
    return json.JSONEncoder(sort_keys=sort_keys, separators=(",", ":"), allow_nan=False).encode


def _encoded(value: Value) -> Json:
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, tuple):
        return {"tuple": [_encoded(item) for item in value]}
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    if isinstance(value, dict):
        return {"dict": {name: _encoded(item) for name, item in value.items()}}
    if isinstance(value, Named):
        return {"callable": value.name}
    if callable(value):
        return {"callable": name_of(value)}
    return cast("bool | int | float | str | None", value)


def decode(data: Json, resolve: bool = False) -> Value:
    """The value that `encode` turned into ``data``.

    Callables are returned as `Named`, which imports nothing, because a record from elsewhere must not run code;
    with ``resolve=True`` they are imported. Raises ConfigError for data that `encode` does not write.

    >>> decode({"callable": "math:sqrt"}), decode({"callable": "math:sqrt"}, resolve=True)(9.0)
    (Named(name='math:sqrt'), 3.0)
    """
    if isinstance(data, list):
        return [decode(item, resolve) for item in data]
    if not isinstance(data, dict):
        return data
    match data:
        case {"tuple": [*items], **rest} if not rest:
            return tuple(decode(item, resolve) for item in items)
        case {"dict": dict(items), **rest} if not rest:
            return {name: decode(item, resolve) for name, item in items.items()}
        case {"float": str(text), **rest} if not rest and text in _NONFINITE:
            return _NONFINITE[text]
        case {"callable": str(name), **rest} if not rest and ":" in name:
            named = Named(name)
            return named.resolve() if resolve else cast(Value, named)  # it stands for a callable
    raise ConfigError(f"{data!r} is not an encoded value: pass what encode returned.")


def config_id(config: Mapping[str, Value]) -> str:
    """The config's identity: 16 hex digits, the same on every machine and in whatever order its names stand.

    They are the first digits of the SHA-256 of its canonical JSON. 1 and 1.0 are different values: an integer can be a
    shape, and rides in a lane of another type, so the two may train differently.

    >>> config_id({"l2": 0.0, "learning_rate": 0.1}) == config_id({"learning_rate": 0.1, "l2": 0.0})
    True
    """
    return hashlib.sha256(canonical(encode_config(config)).encode()).hexdigest()[:16]


def config_ids(configs: Sequence[Mapping[str, Value]]) -> list[str]:
    """The `config_id` of each of many configs."""
    return [hashlib.sha256(text.encode()).hexdigest()[:16] for text in json_of(configs, sort_keys=True)]


def json_of(configs: Sequence[Mapping[str, Value]], sort_keys: bool) -> list[str]:
    """Each of many configs as `json_encoder` writes it; those of numbers and strings alone are written together.

    Between the items of one text there are then line ends, which within a string JSON writes as "\\n".
    """
    found: list[str] = []
    for start in range(0, len(configs), _AT_ONCE):
        some = configs[start : start + _AT_ONCE]
        try:
            found += _json_together(some, sort_keys)
        except ValueError:  # among them is a value that JSON does not have as it is
            found += [_alone[sort_keys](encode_config(config)) for config in some]
    return found


def _json_together(configs: Sequence[Mapping[str, Value]], sort_keys: bool) -> list[str]:
    if not _FLAT.issuperset(map(type, chain.from_iterable(config.values() for config in configs))):
        raise ValueError
    text = _by_line[sort_keys](configs)
    return [f"{{{each}}}".replace(",\n", ",") for each in text[2:-2].split("},\n{")]


def canonical(data: Json) -> str:
    """The one JSON text that identities are made of: names sorted, no spaces, ASCII only."""
    return _alone[True](data)


_alone = {keys: json_encoder(sort_keys=keys) for keys in (True, False)}
_by_line = {
    keys: json.JSONEncoder(sort_keys=keys, separators=(",\n", ":"), allow_nan=False).encode for keys in (True, False)
}
_AT_ONCE = 4096  # configs written together


def plain(value: object) -> Value:
    """``value`` in Python's own types, nested tuples, lists and dicts included; ConfigError for what is not a value."""
    if type(value) in _PLAIN:
        return cast(Value, value)
    if type(value) is tuple:
        return tuple(plain(item) for item in value)
    if type(value) is list:
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_key(name, value): plain(item) for name, item in value.items()}
    if isinstance(value, np.generic) or getattr(value, "ndim", None) == 0:
        return _scalar(value)
    if callable(value):
        name_of(value)
        return value
    raise _refused(value)


def _key(name: object, whole: object) -> str:
    if not isinstance(name, str):
        raise ConfigError(f"{_shown(whole)} has the key {name!r}: use strings as the keys of a dict.")
    return str(name)


def _scalar(value: object) -> bool | int | float | str:
    try:
        item = value.item()  # pyright: ignore[reportAttributeAccessIssue]
    except (TypeError, NotImplementedError, AttributeError):  # a tracer; a key
        raise _refused(value) from None
    if type(item) not in (bool, int, float, str):
        raise _refused(value)
    return item


def _shown(value: object) -> str:
    shown = " ".join(repr(value).split())
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _refused(value: object) -> ConfigError:
    return ConfigError(
        f"{_shown(value)} is of type {type(value).__name__}, which a config cannot hold: pass a number, a string, a "
        "bool, None, a function, or a tuple, list or dict of them."
    )
