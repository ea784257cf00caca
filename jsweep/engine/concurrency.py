"""Threads: background ones that an interpreter may end with, and programs that must not run in two threads at once.

jaxlib before 0.11.1 can hang on CPU when two threads run programs with several LAPACK operations (Cholesky and other
factorisations, triangular solves, eigenvalues): XLA loses the completion of one, and both threads wait forever. Such
programs are found by their text and called one at a time.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

import jax
import jaxlib
from jaxtyping import PyTree

R = TypeVar("R")
T = TypeVar("T")
COMPILER = "jsweep-compile"  # the name of a thread that compiles

_FIRST_SAFE = (0, 11, 1)  # 0.10.2 and 0.11.0 hang; 0.11.1, 0.11.2 and 0.12.0 were not seen to
_LAPACK_CALL = "@lapack_"
_alone = threading.Lock()


@dataclass(frozen=True)
class Program:
    """A compiled program; with ``runs_alone`` one call at a time of all such programs, which then ends before it returns.

    ``digest`` is of its text: 16 hex digits.
    """

    compiled: Callable[..., PyTree]
    runs_alone: bool = False
    digest: str = ""

    def __call__(self, *args: PyTree) -> PyTree:
        if not self.runs_alone:
            return self.compiled(*args)
        with _alone:
            return jax.block_until_ready(self.compiled(*args))


def uses_lapack(lowered: jax.stages.Lowered, platform: str) -> bool:
    """Whether a program calls LAPACK, as JAX does on CPU alone."""
    return platform == "cpu" and _LAPACK_CALL in lowered.as_text()


def lapack_hangs() -> bool:
    """Whether calls of programs with LAPACK from two threads could hang in this jaxlib."""
    return tuple(int(part) for part in jaxlib.__version__.split(".")[:3]) < _FIRST_SAFE


def in_background(function: Callable[[], R]) -> Future[R]:
    """Call a function in a thread that, unlike those of an executor, does not keep the interpreter from ending."""
    future: Future[R] = Future()
    threading.Thread(target=_call, args=(future, function), daemon=True, name=COMPILER).start()
    return future


def interruptible(function: Callable[[], R]) -> R:
    """Call a function; in the main thread so that Ctrl-C ends the wait for it, as XLA handles no signal."""
    return function() if threading.current_thread() is not threading.main_thread() else in_background(function).result()


def gather(futures: list[Future[R]], make: Callable[[list[R]], T], into: Future[T]) -> None:
    """Give ``into``, unless it is cancelled before, what ``make`` makes of all results, in the thread that has the last one."""
    lock, left = threading.Lock(), [len(futures)]

    def on_done(_: Future[R]) -> None:
        with lock:
            left[0] -= 1
            if left[0]:
                return
        if into.set_running_or_notify_cancel():
            try:
                into.set_result(make([future.result() for future in futures]))
            except BaseException as error:
                into.set_exception(error)
        futures.clear()  # they hold this function, which holds them

    for future in tuple(futures):
        future.add_done_callback(on_done)


class BackgroundPool:
    """A few threads that call functions in the order of `submit`, and do not keep the interpreter from ending."""

    def __init__(self, threads: int):
        self._calls: queue.SimpleQueue[tuple[Future, Callable] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, daemon=True, name=COMPILER) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[[], R]) -> Future[R]:
        """Have a function called."""
        future: Future[R] = Future()
        self._calls.put((future, function))
        return future

    def close(self, wait: bool) -> None:
        """End the threads once they have called what was submitted, and perhaps wait for that."""
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            _call(*call)
            del call  # which holds the result


def _call(future: Future[R], function: Callable[[], R]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)
