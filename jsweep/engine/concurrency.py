"""Compiled programs that must not run in two threads at once, and how they are called.

jaxlib before 0.11.1 can hang on CPU when two threads run programs with several LAPACK operations (Cholesky and other
factorisations, triangular solves, eigenvalues): XLA loses the completion of one, and both threads wait forever. Such
programs are found by their text and called one at a time.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jaxlib
from jaxtyping import PyTree

_FIRST_SAFE = (0, 11, 1)  # 0.10.2 and 0.11.0 hang; 0.11.1, 0.11.2 and 0.12.0 were not seen to
_LAPACK_CALL = "@lapack_"
_alone = threading.Lock()


@dataclass(frozen=True)
class Program:
    """A compiled program; with ``runs_alone`` one call at a time of all such programs, which then ends before it returns."""

    compiled: Callable[..., PyTree]
    runs_alone: bool = False

    def __call__(self, *args: PyTree) -> PyTree:
        if not self.runs_alone:
            return self.compiled(*args)
        with _alone:
            return jax.block_until_ready(self.compiled(*args))


def must_run_alone(lowered: jax.stages.Lowered, platform: str) -> bool:
    """Whether calls of a program from two threads could hang: on CPU, with LAPACK, and in a jaxlib that has the fault."""
    version = tuple(int(part) for part in jaxlib.__version__.split(".")[:3])
    return platform == "cpu" and version < _FIRST_SAFE and _LAPACK_CALL in lowered.as_text()
