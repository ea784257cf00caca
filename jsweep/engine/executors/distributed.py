"""The processes of `jax.distributed` as an executor: process 0 sends jobs, all processes train.

Jobs and results go through the key-value store of JAX's coordination service, which the processes share already, in pieces
that it takes. No array is sharded and no collective runs: each process trains whole tiles on its own devices.
"""

import itertools
import pickle
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax

from jsweep._runtime.backend import configure
from jsweep._runtime.jax_internals import KeyValueStore, key_value_store
from jsweep.engine.placement import default_workers
from jsweep.errors import ConfigError

PIECE = 1 << 20  # bytes of one value in the store
POLL_SECONDS = 2.0  # of one wait for a value

_blocks = itertools.count()  # the processes enter blocks in the same order, so that each finds the others'


@contextmanager
def distributed() -> Iterator["ProcessesExecutor | None"]:
    """The processes of `jax.distributed` as an executor for `jsweep.run`: in process 0; the others work, and are given None.

    Every process enters the block. Process 0 runs sweeps in it and keeps the record; the others train for it, and leave
    the block when process 0 does::

        jax.distributed.initialize()
        with jsweep.distributed() as executor:
            if executor is not None:
                session = jsweep.run(sweep, executor=executor)

    The sweep goes to the other processes by pickle, as of `multiprocessing`, over the connections of JAX's own coordination
    service: whoever can reach its port can run code in them. Where one process dies, JAX ends the others; the sweep
    goes on from its record when it is run again.

    Raises:
        ConfigError: where `jax.distributed.initialize` was not called.
    """
    store = key_value_store()
    if store is None:
        raise ConfigError(
            "jax.distributed is not initialized: call jax.distributed.initialize() in every process before, which finds the "
            "others by the cluster's environment or by its arguments."
        )
    configure()
    block = f"jsweep/{next(_blocks)}"
    devices = default_workers()
    if jax.process_index() == 0:
        executor = ProcessesExecutor(store, block, devices)
        try:
            yield executor
        finally:
            executor.end()
    else:
        with _signals_ignored():
            _serve(store, block, devices)
        yield None


class ProcessesExecutor(Executor):
    """What `distributed` gives process 0; its jobs are done in turn by whoever is free."""

    def __init__(self, store: KeyValueStore, block: str, devices: list[jax.Device]):
        self._jobs: queue.SimpleQueue[tuple[Future, bytes] | None] = queue.SimpleQueue()
        counts = [int(_get(store, f"{block}/workers/{p}")) for p in range(1, jax.process_count())]
        channels = [_Channel(store, f"{block}/{p}/{w}") for p, n in enumerate(counts, 1) for w in range(n)]
        does = [channel.call for channel in channels] + [_here(device) for device in devices]
        self.workers = len(does)
        self._channels = channels
        self._threads = [threading.Thread(target=self._work, args=(do,), daemon=True) for do in does]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Have a function called by a worker."""
        future: Future = Future()
        self._jobs.put((future, pickle.dumps((fn, args, kwargs))))
        return future

    def end(self) -> None:
        """Let all workers end once they have done their jobs."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        for channel in self._channels:
            channel.send(b"")

    def _work(self, do: Callable[[bytes], bytes]) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result, error = pickle.loads(do(call))
            except BaseException as raised:
                result, error = None, raised
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


@dataclass
class _Channel:
    """The calls to one worker of another process, and its answers, numbered."""

    store: KeyValueStore
    name: str
    _number: Iterator[int] = field(default_factory=itertools.count)

    def send(self, call: bytes) -> str:
        """Send a call; returns the key of the answer. Empty ends the worker."""
        number = next(self._number)
        _put(self.store, f"{self.name}/call/{number}", call)
        return f"{self.name}/answer/{number}"

    def call(self, call: bytes) -> bytes:
        """Send a call and wait for its answer."""
        return _get(self.store, self.send(call))


def _serve(store: KeyValueStore, block: str, devices: list[jax.Device]) -> None:
    """Answer calls, in a thread for each device, until process 0 has no more."""
    process = jax.process_index()
    _put(store, f"{block}/workers/{process}", str(len(devices)).encode())
    threads = [
        threading.Thread(target=_answer, args=(store, f"{block}/{process}/{number}", device), daemon=True)
        for number, device in enumerate(devices)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _answer(store: KeyValueStore, name: str, device: jax.Device) -> None:
    do = _here(device)
    for number in itertools.count():
        call = _get(store, f"{name}/call/{number}")
        if not call:
            return
        _put(store, f"{name}/answer/{number}", do(call))


def _here(device: jax.Device) -> Callable[[bytes], bytes]:
    """What does a pickled call in this process, on a device, and pickles what it returns or raises."""

    def do(call: bytes) -> bytes:
        try:
            function, args, kwargs = pickle.loads(call)
            with jax.default_device(device):
                return pickle.dumps((function(*args, **kwargs), None))
        except Exception as error:
            return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}")))

    return do


def _put(store: KeyValueStore, key: str, value: bytes) -> None:
    """Store a value in pieces, the number of them last."""
    pieces = [value[start : start + PIECE] for start in range(0, len(value), PIECE)]
    for number, piece in enumerate(pieces):
        store.key_value_set_bytes(f"{key}/{number}", piece)
    store.key_value_set_bytes(key, str(len(pieces)).encode())


def _get(store: KeyValueStore, key: str) -> bytes:
    """Wait for a value, and take it out of the store."""
    while True:
        try:
            count = int(store.blocking_key_value_get_bytes(key, int(POLL_SECONDS * 1000)))
            break
        except Exception as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
    names = [f"{key}/{number}" for number in range(count)]
    value = b"".join(store.blocking_key_value_get_bytes(name, 60_000) for name in names)
    for name in (*names, key):
        store.key_value_delete(name)
    return value


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Leave it to process 0 to end a run: Ctrl-C and the scheduler's SIGTERM reach all processes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
