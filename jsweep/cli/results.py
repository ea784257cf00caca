"""Sweeps and single configs by the names that commands take."""

from contextlib import ExitStack
from pathlib import Path

from jsweep.results import verbs
from jsweep.results.result import Result


def opened(stack: ExitStack, store: str, name: str) -> Result:
    """The sweep of a name, or one config of it; closed with ``stack``.

    Args:
        stack: What closes the store.
        store: The store's file, unless the name has another.
        name: SWEEP, SWEEP:CONFIG for the config whose id begins so, or STORE::SWEEP. A sweep that has the whole as its
            name comes first.
    """
    label = name
    if "::" in name and not (Path(store).exists() and name in _names(store)):
        store, _, name = name.partition("::")
    sweep, _, config = (name, "", "") if ":" not in name or name in _names(store) else name.rpartition(":")
    result = stack.enter_context(verbs.open(store, sweep))
    if label != name:
        result.label = f"{store}::{sweep}"  # two records may have sweeps of one name
    return result.config(config) if config else result


def _names(store: str) -> set[str]:
    return {sweep.name for sweep in verbs.list(store)}
