"""Ray as an executor: ``jsweep.ray``."""

import contextlib
import functools
import signal
import threading
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import ModuleType
from typing import Any

from jsweep._runtime.optional import import_optional
from jsweep.errors import ConfigError
from jsweep.task.config import check_count


def ray(
    address: str | None = None,
    *,
    resources: Mapping[str, float] | None = None,
    workers: int | None = None,
    max_retries: int = 3,
    runtime_env: Mapping[str, Any] | None = None,
) -> "RayExecutor":
    """An executor for `jsweep.run` that trains tiles as tasks of Ray: ``jsweep.run(sweep, executor=jsweep.ray())``.

    The task and its data are put into Ray's object store once; a process of Ray imports JAX, traces and compiles when it
    trains its first tile, and keeps that. Where Ray runs in this process already, that cluster is taken.

    Args:
        address: the cluster's, as ``ray.init`` takes it; "auto" finds a running one. None starts Ray on this machine
            unless ``RAY_ADDRESS`` says otherwise.
        resources: what a tile needs (default: ``{"CPU": 1}``, on accelerators ``{"CPU": 1, "GPU": 1}`` or the like).
        workers: how many tiles are trained at once (default: as many as the cluster's resources allow now).
        max_retries: how often Ray starts a tile's task again whose process or node died; jsweep then tries three times more.
        runtime_env: as ``ray.init`` takes it, for modules that the task imports and workers do not have.

    Returns:
        The executor; Ray goes on until ``ray.shutdown()`` or the end of the process.

    Raises:
        ConfigError: where the cluster has not the resources for one tile, or an argument is not as described.
        MissingExtraError: if ray is not installed.
    """
    module = import_optional("ray", "ray")
    import_optional("cloudpickle", "ray")
    asked = dict(resources or {"CPU": 1})
    if not asked or any(isinstance(n, bool) or not isinstance(n, int | float) or n <= 0 for n in asked.values()):
        raise ConfigError(
            f'resources={resources!r} is not valid: pass numbers above 0, such as {{"CPU": 1, "GPU": 1}}.'
        )
    retries = check_count("max_retries", max_retries, 0)
    if not module.is_initialized():
        _connect(module, address, runtime_env)
    elif address is not None or runtime_env is not None:
        raise ConfigError(
            f"address={address!r} and runtime_env={runtime_env!r} come too late, as this process uses Ray already: leave them "
            "out, or call ray.shutdown() before."
        )
    total = module.cluster_resources()
    fit = min(int(total.get(name, 0.0) / amount + 1e-9) for name, amount in asked.items())
    if fit < 1 and workers is None:
        raise ConfigError(
            f"resources={asked!r} are more than the cluster has ({_shown(total, asked)}): ask for less, or pass workers= where "
            "nodes are still to come."
        )
    return RayExecutor(module, asked, fit if workers is None else check_count("workers", workers), retries)


def _connect(module: ModuleType, address: str | None, runtime_env: Mapping[str, Any] | None) -> None:
    main, before = threading.current_thread() is threading.main_thread(), signal.getsignal(signal.SIGTERM)
    options = {"runtime_env": runtime_env and dict(runtime_env), "log_to_driver": False, "logging_level": "WARNING"}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*fork", RuntimeWarning)  # JAX warns of the processes that Ray starts
            module.init(address=address, include_dashboard=False if address is None else None, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"address={address!r}: Ray cannot be reached ({text}): start a cluster or correct the address."
        ) from error
    finally:
        if main and before is not None:
            signal.signal(
                signal.SIGTERM, before
            )  # Ray's would end the process before the run's last segments are recorded


def _shown(total: Mapping[str, float], asked: Mapping[str, float]) -> str:
    return ", ".join(f"{name}: {total.get(name, 0):g}" for name in asked)


class RayExecutor:
    """What `jsweep.ray` returns; see `jsweep.engine.executors.remote.Executor`."""

    def __init__(self, module: ModuleType, resources: Mapping[str, float], workers: int, max_retries: int):
        self.workers = workers
        self._ray = module
        cpus, gpus, memory = (resources.get(name, 0) for name in ("CPU", "GPU", "memory"))
        others = {name: amount for name, amount in resources.items() if name not in ("CPU", "GPU", "memory")}
        self._options = {
            "num_cpus": cpus,
            "num_gpus": gpus,
            **({"memory": memory} if memory else {}),
            **({"resources": others} if others else {}),
            "max_retries": max_retries,
        }
        self._functions: dict[Callable[..., object], Any] = {}

    def __repr__(self) -> str:
        return f"jsweep.ray(), {self.workers} workers"

    def put(self, value: object) -> Callable[[], Any]:
        """Put a value into Ray's object store; in a worker the function that is returned gives it."""
        return functools.partial(_get, [self._ray.put(value)])

    def submit(self, function: Callable[..., object], /, *args: object) -> Future:
        """Have a function called by a worker."""
        if function not in self._functions:
            self._functions[function] = self._ray.remote(**self._options)(function)
        task = self._functions[function].remote(*args)
        future = _TaskFuture(functools.partial(self._ray.cancel, task))
        task.future().add_done_callback(future.follow)
        return future


class _TaskFuture(Future):
    """The future of a task, whose ``cancel`` cancels the task, even if it runs."""

    def __init__(self, cancel_task: Callable[[], None]):
        super().__init__()
        self._cancel_task = cancel_task

    def cancel(self) -> bool:
        cancelled = super().cancel()
        if cancelled:
            with contextlib.suppress(Exception):  # Ray may be gone
                self._cancel_task()
        return cancelled

    def follow(self, task: Future) -> None:
        """End as the task has."""
        if not self.set_running_or_notify_cancel():
            return
        error = task.exception()
        if error is None:
            self.set_result(task.result())
        else:
            self.set_exception(error)


def _get(references: list[Any]) -> Any:
    """In a worker: what was put. Ray would fetch a bare reference for every task; one in a list waits to be asked for."""
    return import_optional("ray", "ray").get(references[0])
