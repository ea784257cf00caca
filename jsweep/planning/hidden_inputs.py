"""Whether a task computes the same whenever it is traced, from its arguments alone.

What a function reads beside them (``np.random``, the time, a global that it writes) becomes a constant of its jaxpr, drawn
once for all trials. So every compile group is traced twice, and the two jaxprs must be equal.
"""

import traceback
from collections.abc import Iterable

from jsweep.errors import ConfigError
from jsweep.planning.groups import Group
from jsweep.planning.identity import differing_operation, identity_of
from jsweep.planning.roles import user_frame
from jsweep.planning.traced import Traced, retracing, trace
from jsweep.task.task import Task

_CURE = (
    "it depends on something beside its arguments, such as np.random, the time, the order of a set, or a variable that it "
    "changes itself: draw random numbers with jax.random from key, and take all else from config or state"
)


def check_repeatable(task: Task, groups: Iterable[Group], recorded: frozenset[str]) -> None:
    """Raise ConfigError where a compile group is another program when it is traced again.

    The first group is traced once more than the others, so that what alternates from trace to trace shows, too.

    Args:
        task: the task.
        groups: its compile groups.
        recorded: the digests of programs in the record; a group that gives one of them was traced to it before.
    """
    unknown = [group for group in groups if group.identity.digest not in recorded]
    for part in (unknown[:1], unknown):
        with retracing():  # JAX's traces of jitted functions serve all groups, as they did in the first trace
            for group in part:
                _check_group(task, group)


def _check_group(task: Task, group: Group) -> None:
    again = _trace_again(task, group)
    difference = identity_of(again).difference(group.identity)
    if difference is not None:
        place = _place(again, group.traced)
        raise ConfigError(f"{difference} is not the same when it is traced again{place}: {_CURE}.")


def _trace_again(task: Task, group: Group) -> Traced:
    try:
        return trace(task, group.static, group.lanes, group.rows, group.validation_rows)
    except Exception as error:
        raised = ": ".join((type(error).__name__, *str(error).splitlines()[:1]))
        raise ConfigError(f"the task raises {raised[:300]} when it is traced again: {_CURE}.") from error


def _place(traced: Traced, before: Traced) -> str:
    operation = differing_operation(traced, before)
    frames = None if operation is None else getattr(operation.source_info.traceback, "as_python_traceback", None)
    place = None if frames is None else user_frame(traceback.extract_tb(frames()))
    return f", at {place}" if place else ""
