"""The compilation cache: a second process compiles nothing, only jsweep's programs are kept, and a choice lasts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# The environment as a user has it: the tests themselves share a cache of JAX's own.
OURS = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_", "XLA_FLAGS")
WITHOUT_CACHE = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
AGAIN = "were compiled again although an earlier run had compiled them"
START = """
import jax, numpy as np, pathlib, os, sys
sys.path.insert(0, {tests!r})
import jsweep as js
from small import make_task
x = np.random.default_rng(0).random((400, 64), np.float32)
task = make_task(js.split(x, np.arange(400) % 10))
entries = lambda: sorted(path.name for path in pathlib.Path(os.environ["JSWEEP_CACHE"]).glob("*/xla/*-cache"))
"""
SWEEP = """
from jax import monitoring
misses = []
monitoring.register_event_listener(lambda name, **_: misses.append(name) if name.endswith("/cache_misses") else None)
js.sweep(task, [{"learning_rate": 0.1}, {"learning_rate": 0.2, "width": 8}], steps=4)
print(len(misses))
"""


def python(script, cache, **variables):
    """What a script prints, and what it warns of, in a process with a cache folder of its own."""
    environment = WITHOUT_CACHE | {"JSWEEP_CACHE": str(cache), **variables}
    text = START.format(tests=str(Path(__file__).parent)) + script
    done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    misses, warned = python(SWEEP, folder)
    assert int(misses) > 0
    assert AGAIN not in warned
    return folder


def test_a_second_process_compiles_nothing(cache):
    misses, warned = python(SWEEP, cache)
    assert int(misses) == 0
    assert AGAIN not in warned


def test_a_cache_without_hits_is_reported_once(cache, tmp_path):
    lost = tmp_path / "lost"
    shutil.copytree(cache, lost)
    for folder in lost.glob("*/xla"):
        shutil.rmtree(folder)
    misses, warned = python(SWEEP, lost)
    assert int(misses) > 0
    assert warned.count(AGAIN) == 1


def test_only_programs_of_sweeps_are_kept(tmp_path):
    script = """
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: x * 2)(np.ones(3)).block_until_ready()
assert entries() == [], entries()
js.sweep(task, [{"learning_rate": 0.1}], steps=4)
kept = entries()
assert len(kept) == 3, kept
jax.jit(lambda x: x * 3)(np.ones(3)).block_until_ready()
assert entries() == kept, entries()
assert jax.config.jax_compilation_cache_dir is None
"""
    python(script, tmp_path)


def test_a_cache_folder_of_the_users_own_is_used_as_it_is(tmp_path):
    script = """
js.sweep(task, [{"learning_rate": 0.1}], steps=4)
assert entries() == []
jax.jit(lambda x: x * 3)(np.ones(3)).block_until_ready()
print(len(list(pathlib.Path(jax.config.jax_compilation_cache_dir).glob("*-cache"))))
"""
    variables = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    kept, _ = python(script, tmp_path / "jsweep", **variables)
    assert int(kept) > 3


@pytest.mark.parametrize("choice", ["js.configure(cache=False)", "js.configure(); js.configure(cache=False)"])
def test_a_cache_that_is_turned_off_stays_off(choice, tmp_path):
    python(f"{choice}; js.sweep(task, [{{'learning_rate': 0.1}}], steps=4); assert entries() == []", tmp_path)


def test_importing_jsweep_and_using_its_names_changes_no_setting(tmp_path):
    script = """
js.grid({"a": [1]}), js.Sweep, js.run
assert "XLA_FLAGS" not in os.environ
assert jax.config.jax_compilation_cache_dir is None
from jsweep._runtime.jax_internals import backend_started
assert not backend_started()
"""
    text = START.split("task =")[0].split("from small")[0].format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", text + script], env=WITHOUT_CACHE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
