"""A sweep on an executor: what its workers are sent, and how they find the same compile groups as the driver.

The task goes to workers by cloudpickle, once a worker process, with its training and validation examples and without the
test examples. What is decided about the configs follows from the record, as in a run that resumes; each worker traces the
task anew and trains nothing whose computation is not the driver's.
"""

import hashlib
import io
import os
import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import jax
import numpy as np

from jsweep._runtime.environment import describe_environment
from jsweep._runtime.optional import import_optional
from jsweep.engine.executors.jobs import Job, Parcel, Setup, Source
from jsweep.engine.executors.remote import Executor, Pool
from jsweep.engine.tile import Setting
from jsweep.errors import ConfigError, IncompatibleSweepError
from jsweep.planning import Group
from jsweep.planning.grouping import Traces
from jsweep.runner.compatibility import environment_changes
from jsweep.runner.prepare import group_trials, setting_of
from jsweep.runner.sweep import Sweep
from jsweep.storage import SweepRecord
from jsweep.task.config import check_count
from jsweep.task.task import Task

_VARIABLES = ("XLA_FLAGS", "JAX_PLATFORMS", "JAX_COMPILATION_CACHE_DIR")  # if the worker has none of its own
_OPTIONS = (  # of JAX, on which numbers depend
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_numpy_dtype_promotion",
    "jax_numpy_rank_promotion",
    "jax_random_seed_offset",
    "jax_allow_f16_reductions",
    "jax_use_hlo_logistic_lowering",
    "jax_disable_most_optimizations",
    "jax_debug_nans",
    "jax_debug_infs",
)


@dataclass(frozen=True)
class Remote:
    """An executor for the parts of one run.

    Attributes:
        executor: the executor.
        task: the run's task.
        at_once: how many jobs it has at once.
        any_environment: train in workers of another environment than the driver's, too.
    """

    executor: Executor
    task: Task
    at_once: int
    any_environment: bool
    _sent: dict[str, Source] = field(default_factory=dict, repr=False)

    def pool(self, part: Sweep, record: SweepRecord) -> Pool:
        """What trains a part of the sweep, which the record has."""
        own = replace(part, rule=None, objective=None, store=None)
        analysis = Analysis(own, record, describe_environment(), self.any_environment)
        parcels = self._task, _parcel(analysis, part.task)
        variables = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
        options = {name: getattr(jax.config, name) for name in _OPTIONS if hasattr(jax.config, name)}
        return Pool(
            executor=self.executor,
            at_once=self.at_once + -(-self.at_once // 8),  # some wait, so that no worker does
            setup=Setup(variables, options),
            names=(parcels[0].id, parcels[1].id),
            sources=(self._put(parcels[0]), self._put(parcels[1])),
            parcels=parcels,
            dump=_dump_job,
        )

    @cached_property
    def _task(self) -> Parcel:
        task = self.task
        return _parcel(replace(task, data=replace(task.data, test=None, transforms=(), raw_test=None)))

    def _put(self, parcel: Parcel) -> Source:
        put = getattr(self.executor, "put", None)
        if put is None:
            return None
        if parcel.id not in self._sent:
            self._sent[parcel.id] = put(parcel)
        return self._sent[parcel.id]


def remote_of(executor: Executor | None, task: Task, workers: object, any_environment: bool) -> Remote | None:
    """An executor as `run` takes it; ConfigError where it is none, or nobody says how many workers it has."""
    if executor is None:
        return None
    if not callable(getattr(executor, "submit", None)):
        raise ConfigError(
            f"executor is a {type(executor).__name__}: pass a concurrent.futures.Executor, such as a ProcessPoolExecutor, "
            "or jsweep.ray()."
        )
    context = getattr(executor, "_mp_context", None)  # a ProcessPoolExecutor's
    if context is not None and context.get_start_method(allow_none=False) == "fork":
        raise ConfigError(
            "executor forks this process, in which JAX has threads, and would hang: pass "
            "ProcessPoolExecutor(n, mp_context=multiprocessing.get_context('spawn'))."
        )
    count = workers if workers is not None else getattr(executor, "workers", getattr(executor, "_max_workers", None))
    if count is None:
        raise ConfigError(f"executor={executor!r} does not say how many workers it has: pass workers=, a number.")
    if not isinstance(count, int | np.integer):
        raise ConfigError(f"workers={workers!r} with an executor: pass how many tiles are to be trained at once.")
    return Remote(executor, task, check_count("workers", count), any_environment)


@dataclass(frozen=True)
class Analysis:
    """Finds in a worker the compile groups that the driver has found.

    Attributes:
        sweep: the part of the sweep.
        record: what the driver's record has of it.
        environment: the driver's.
        any_environment: whether the worker's may be another.
    """

    sweep: Sweep
    record: SweepRecord
    environment: Mapping[str, str | int | bool]
    any_environment: bool

    def __call__(self, traces: Traces) -> tuple[Setting, Sequence[Group]]:
        """What all tiles share, and the compile groups.

        Raises:
            IncompatibleSweepError: where the worker would not compute the driver's bits.
        """
        changed = environment_changes(self.environment, describe_environment())
        if changed and not self.any_environment:
            raise IncompatibleSweepError(
                f"its environment is not the driver's ({changed}), so scores would not be comparable bit for bit: use "
                "machines of one kind with the same versions, or any_environment=True (--any-environment)."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the driver has given them
            trials, grouped = group_trials(self.sweep, self.record, traces=traces)
            return setting_of(self.sweep, trials, self.record), grouped.groups


class _Refers(Protocol):
    """What a pickler calls of each object: the name of one that is left out, and None of all others."""

    def __call__(self, value: object, /) -> str | None: ...


def _parcel(value: object, task: Task | None = None) -> Parcel:
    """A pickled value, with the arrays beside it, and without the task, which the worker has."""
    buffers: list[pickle.PickleBuffer] = []
    data = _dumps(value, buffers, lambda each: "task" if each is task and task is not None else None)
    arrays = tuple(np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers)
    digest = hashlib.sha256(data)
    for array in arrays:
        digest.update(array.data)
    return Parcel(digest.hexdigest()[:24], data, arrays)


def _dumps(value: object, buffers: list[pickle.PickleBuffer] | None, refers: _Refers | None = None) -> bytes:
    cloudpickle = import_optional("cloudpickle", "executors")
    file = io.BytesIO()

    class Pickler(cloudpickle.Pickler):
        def persistent_id(self, obj: object) -> str | None:
            return None if refers is None else refers(obj)

    try:
        Pickler(file, protocol=5, buffer_callback=None if buffers is None else buffers.append).dump(value)
    except Exception as error:
        raise ConfigError(
            f"the sweep cannot be sent to an executor's workers ({type(error).__name__}: {error}): leave open files, locks and "
            "the like out of what its functions refer to."
        ) from error
    return file.getvalue()


def _dump_job(job: Job) -> bytes:
    return _dumps(job, None)
