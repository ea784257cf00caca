"""Compiling the programs of tiles: part by part, side by side, and once what several tiles have in common."""

import hashlib
import re
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

import jax

from jsweep._runtime.backend import compilation_cache, reductions_are_correct
from jsweep._runtime.lapack import use_one_lapack_thread
from jsweep.engine.concurrency import (
    BackgroundPool,
    Program,
    gather,
    in_background,
    interruptible,
    lapack_hangs,
    uses_lapack,
)

R = TypeVar("R")


@dataclass(frozen=True)
class Part:
    """One program of a tile before it is lowered. Parts of equal keys are the same; None for one that stands for itself."""

    lower: Callable[[], jax.stages.Lowered]
    device: jax.Device
    key: Hashable | None = None


def compile_program(lowered: jax.stages.Lowered, device: jax.Device) -> Program:
    """Compile one program for ``device``, or load it from the compilation cache."""
    lapack = uses_lapack(lowered, device.platform)
    if lapack:
        use_one_lapack_thread()
    compiled = interruptible(lambda: compile_lowered(lowered, device))
    return Program(compiled, lapack and lapack_hangs(), digest_of(lowered))


def compile_lowered(lowered: jax.stages.Lowered, device: jax.Device) -> jax.stages.Compiled:
    """The same as JAX gives it, in this thread."""
    with compilation_cache():
        return lowered.compile(compiler_options(device))


def compiler_options(device: jax.Device) -> dict[str, str | bool] | None:
    """XLA's options for tile programs on ``device``.

    On CPU, optimization level 1 compiles faster than the default, to programs of the same speed.
    Where jaxlib's reductions are wrong and the flag of `jsweep.configure` came too late, YNNPACK is turned off.
    """
    if device.platform != "cpu":
        return None
    options: dict[str, str | bool] = {"xla_backend_optimization_level": "1"}
    if not reductions_are_correct():
        options["xla_cpu_experimental_ynn_fusion_type"] = ""
    return options


def digest_of(lowered: jax.stages.Lowered) -> str:
    """16 hex digits that change when the computation does, not with the names of Python objects or with lines."""
    text = re.sub(r"loc\(.*?\)|#loc.*|0x[0-9a-f]+|@[\w.]+", "", lowered.as_text())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compile_side_by_side(parts: Sequence[Part]) -> list[Program]:
    """Compile the parts of one tile; each is compiled while those after it are lowered."""
    compiling = [in_background(partial(compile_program, part.lower(), part.device)) for part in parts]
    return [future.result() for future in compiling]


@dataclass(frozen=True)
class _Begun:
    """A part that is waiting to be compiled or is being compiled, and the tiles that wait for it."""

    users: list[Future]
    future: "Future[Program]" = field(default_factory=Future)


class TileCompiler:
    """Threads that compile tiles' programs; equal parts of several tiles are compiled once.

    One thread lowers, as Python does one thing at a time. ``threads`` others each compile the part that has waited longest, so
    that the first tile has all cores, and no tile waits for those after it.
    """

    def __init__(self, threads: int):
        self._lowering, self._compiling = BackgroundPool(1), BackgroundPool(threads)
        self._lock = threading.Lock()
        self._begun: dict[Hashable, _Begun] = {}
        self._made: WeakValueDictionary[Hashable, Program] = WeakValueDictionary()

    def submit(self, parts: Callable[[], Sequence[Part]], make: Callable[[Sequence[Program]], R]) -> Future[R]:
        """Compile a tile's programs in the background.

        Args:
            parts: makes the parts of the tile, in the thread that lowers.
            make: makes the result of the compiled parts.

        Returns:
            The result, which may be cancelled until all parts are compiled; then those are not begun that nobody else waits for.
        """
        future: Future[R] = Future()
        self._lowering.submit(partial(self._lower, future, parts, make))
        return future

    def close(self, wait: bool) -> None:
        """End the threads once they have compiled what was submitted, and perhaps wait for that."""
        self._lowering.close(wait)
        self._compiling.close(wait)

    def _lower(
        self, future: Future[R], parts: Callable[[], Sequence[Part]], make: Callable[[Sequence[Program]], R]
    ) -> None:
        if future.cancelled():
            return
        try:
            gather([self._begin(part, future) for part in parts()], make, future)
        except BaseException as error:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)

    def _begin(self, part: Part, user: Future) -> Future[Program]:
        """The compiled part, sooner or later; only the thread that lowers begins one, so none is begun twice."""
        key = object() if part.key is None else part.key
        with self._lock:
            made, begun = self._made.get(key), self._begun.get(key)
            if made is None and begun is not None:
                begun.users.append(user)
                return begun.future
        if made is not None:
            return _done(made)
        begun = _Begun([user])
        compile = partial(self._compile, key, part.lower(), part.device, begun)
        with self._lock:
            self._begun[key] = begun
        self._compiling.submit(compile)
        return begun.future

    def _compile(self, key: Hashable, lowered: jax.stages.Lowered, device: jax.Device, begun: _Begun) -> None:
        with self._lock:
            if all(user.cancelled() for user in begun.users):
                del self._begun[key]
                return
        try:
            made = compile_program(lowered, device)
        except BaseException as error:
            with self._lock:
                del self._begun[key]
            begun.future.set_exception(error)
            return
        with self._lock:
            del self._begun[key]
            self._made[key] = made
        begun.future.set_result(made)


def _done(result: R) -> Future[R]:
    future: Future[R] = Future()
    future.set_result(result)
    return future
