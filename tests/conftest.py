"""What the tests share: signatures checked at run time, JAX set up as for users, small real data."""

import inspect
import os
import re
import signal
import tempfile
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Each program is compiled once a session: the processes of pytest-xdist and those that tests start share JAX's own cache, in a
# folder that is removed at the end. What compiles in less time than it takes to write is left out.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    programs = tempfile.TemporaryDirectory(prefix="jsweep-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = programs.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.03"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jaxtyping

# With JSWEEP_CHECK_SIGNATURES=1, as `.ci/run` sets it once, every signature is checked when the tests call it, which takes half
# as long again, but for these modules:
UNCHECKED = (
    "jsweep.cli.",  # annotations name classes of the engine, which a command imports only when it runs
    "jsweep.__main__",
    "jsweep.space._encode",  # JSON is a type that holds itself, which the check of a return value does not resolve
    "jsweep.engine.layout.",  # NumPy's numbers and literals of traced programs pass for arrays
    "jsweep.planning.identity",  # this and the next walk every operation of every trace: checks took a fifth of the tests' time
    "jsweep.planning.agreement",
    "jsweep.space._space",  # a Space is annotated with what it holds, which its constructor makes of what it takes
)
ROOT = Path(__file__).parent.parent
names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "jsweep").rglob("*.py")]
CHECKED = [name for name in names if not name.startswith(UNCHECKED) and not name.endswith("__init__")]
if os.environ.get("JSWEEP_CHECK_SIGNATURES") == "1":
    jaxtyping.install_import_hook(CHECKED, "signatures.check")

import jsweep

jsweep.configure(cache=False)  # before the backend starts

import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

REFUSAL = re.compile(r"raises\((\w+\.)*(Config|Jsweep|UnknownName|Store)Error")


# Modules whose subject is above tracing and compiling: `.ci/run` tests these under one version of Python and JAX alone.
ANY_VERSION = re.compile(
    "test_(searches|search|ruled_searches|ruling|rules|population|steering|tune|halting|sharding|protocol|faults|resume|locks|"
    "interrupts|storage|moment|hostile|selection|results|statistics|importance|last_ranking|garbage|report|export|tables|"
    "read_commands|docstrings|live|side_by_side|docs|notebook|remote|ray|sklearn|how_to|prediction|folds|targets|batches|data|"
    "cli|progress)"
)


def listed(file):
    return frozenset((Path(__file__).parent / file).read_text().splitlines())


# Of both others like them show most, and at once: `.ci/run` runs the slow ones, and `pytest -m long` alone the long ones.
SLOW, LONG = listed("slow_tests.txt"), listed("long_tests.txt")


def pytest_collection_modifyitems(items):
    """Mark `SLOW`, `LONG`, `ANY_VERSION`, and tests of what is refused, which pass wrong types on purpose."""
    for item in items:
        if item.nodeid in SLOW:
            item.add_marker(pytest.mark.slow)
        if item.nodeid in LONG:
            item.add_marker(pytest.mark.long)
        if ANY_VERSION.fullmatch(item.path.stem):
            item.add_marker(pytest.mark.any_version)
        source = inspect.getsource(item.function) if isinstance(item, pytest.Function) else ""
        if REFUSAL.search(source):
            item.add_marker(pytest.mark.filterwarnings("ignore::signatures.WrongType"))


@pytest.fixture(scope="session")
def digits():
    """400 handwritten digits: x float32 (400, 64) in [0, 1], y int32 (400,)."""
    x, y = load_digits(return_X_y=True)
    return (x[:400] / 16).astype(np.float32), y[:400].astype(np.int32)


@pytest.fixture(scope="session")
def data(digits):
    """The digits, split 240, 80, 80."""
    return jsweep.split(*digits, validation=0.2, test=0.2, key=jax.random.key(0))


@pytest.fixture
def heeded():
    """SIGINT as Python handles it, also where the tests run in the background and it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
