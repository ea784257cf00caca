"""What the runtime finds out about JAX and the machine."""

import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import small

import jsweep
from jsweep._runtime import limits
from jsweep._runtime.prng import trial_keys
from jsweep.engine.input_pipeline import device_memory

PRIVATE = r"jax\._src|jax\.interpreters|jax\.experimental|config\.values\b(?!\()|\._impl\b|\.ctx\b|get_bind_params|backends_are"


def test_private_names_of_jax_are_in_one_file():
    package = Path(jsweep.__file__).parent
    found = {
        path.relative_to(package).as_posix() for path in package.rglob("*.py") if re.search(PRIVATE, path.read_text())
    }
    assert found == {"_runtime/jax_internals.py"}


def test_nothing_asks_for_the_default_backend_but_for_a_device():
    """A tile may be for another device than JAX's default one: one that is described alone, or one of several kinds."""
    sources = Path(jsweep.__file__).parent.rglob("*.py")
    asking = re.compile(r"default_backend|get_backend\(|jax\.devices\(\)")
    found = {path.name for path in sources for line in path.read_text().splitlines() if asking.search(line)}
    assert found <= {"watchdog.py"}  # which advises a user


def test_the_keys_of_trials_are_those_that_jax_folds_in():
    draws = np.random.default_rng(0)
    root, own = (draws.integers(0, 2**32, shape, np.uint32) for shape in ((2,), (5, 2)))
    seeds = np.array([[0, 0, 0], [1, 2, 3], [2**32 - 1, 7, 0], [5, 5, 5], [2**31, 1, 2**31]], np.uint32)
    found = trial_keys(root, seeds, own)
    assert found.dtype == np.uint32
    for lane in range(5):
        for purpose in range(3):
            expected = small.trial_keys(root, seeds[lane, purpose], own[lane])[purpose]
            assert found[purpose, lane].tolist() == jax.random.key_data(expected).tolist()


def fake_cgroup(folder, monkeypatch, files, own="0::/"):
    """Control-group files in ``folder``, and what /proc/self/cgroup says."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "self").write_text(own)
    monkeypatch.setattr(limits, "CGROUP", folder)
    monkeypatch.setattr(limits, "_OWN_CGROUP", folder / "self")


@pytest.mark.parametrize(
    ("files", "own", "expected"),
    [
        ({"memory.max": "123456789\n"}, "0::/\n", 123456789),
        ({"memory.max": "max\n", "a/memory.max": "2000000\n", "a/b/memory.max": "3000000\n"}, "0::/a/b\n", 2000000),
        ({"memory/memory.limit_in_bytes": "5000000\n"}, "7:cpu,cpuacct:/\n5:memory:/\n", 5000000),
        (
            {"memory/memory.limit_in_bytes": "9000000\n", "memory/c/memory.limit_in_bytes": "70000"},
            "5:memory:/c",
            70000,
        ),
    ],
)
def test_memory_is_that_of_the_control_group(files, own, expected, tmp_path, monkeypatch):
    fake_cgroup(tmp_path, monkeypatch, files, own)
    assert limits.memory_bytes() == expected
    assert device_memory(jax.devices("cpu")[0]) == expected


def test_without_a_limit_memory_is_the_machines(tmp_path, monkeypatch):
    monkeypatch.setattr(limits.os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}.__getitem__)
    fake_cgroup(tmp_path, monkeypatch, {"memory.max": "max\n", "memory/memory.limit_in_bytes": str(2**63 - 4096)})
    assert limits.memory_bytes() == 4096 * 1000


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "350000 100000\n"}, 3),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
    ],
)
def test_cores_are_those_of_the_control_group(files, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(limits.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    fake_cgroup(tmp_path, monkeypatch, files)
    assert limits.cores() == expected


def test_what_windows_does_not_tell_is_done_without(tmp_path, monkeypatch):
    fake_cgroup(tmp_path, monkeypatch, {})
    assert limits.peak_bytes() > 1 << 20
    monkeypatch.delattr(limits.os, "sysconf")
    monkeypatch.setitem(sys.modules, "resource", None)  # importing it raises ImportError
    assert limits.memory_bytes() > 1 << 30
    assert limits.peak_bytes() == 0
