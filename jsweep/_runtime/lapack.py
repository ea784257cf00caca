"""The threads of LAPACK, which JAX on CPU takes from SciPy."""

import ctypes
import functools

_SETTERS = ("scipy_openblas_set_num_threads", "openblas_set_num_threads")  # of SciPy's own OpenBLAS, and of a system's


@functools.cache
def use_one_lapack_thread() -> bool:
    """Let each call of LAPACK in this process run in the thread that makes it; whether its threads could be set.

    OpenBLAS lets one caller at a time have its threads, and they wait for work by spinning: workers that factorise small
    matrices side by side then spend their time on each other. A result that is rounded otherwise by more threads no longer
    depends on how many cores there are, either.
    """
    import scipy.linalg.cython_lapack  # JAX has loaded it already, to lower the program

    library = ctypes.CDLL(scipy.linalg.cython_lapack.__file__)
    for name in _SETTERS:
        if hasattr(library, name):
            getattr(library, name)(1)
            return True
    return False
