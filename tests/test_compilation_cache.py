"""The persistent compilation cache: a second process compiles nothing, and one that is not served is told so."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = """
import sys; sys.path.insert(0, {tests!r})
import numpy as np
import jsweep as js
from jax import monitoring
from small import make_task
misses = []
monitoring.register_event_listener(lambda name, **_: misses.append(name) if name.endswith("/cache_misses") else None)
x = np.random.default_rng(0).random((400, 64), np.float32)
data = js.split(x, np.arange(400) % 10)
js.sweep(make_task(data), [{{"learning_rate": 0.1}}, {{"learning_rate": 0.2, "width": 8}}], steps=4)
print(len(misses))
"""


def run(cache):
    """Cache misses of a sweep in a process of its own, and what it said."""
    script = SWEEP.format(tests=str(Path(__file__).parent))
    environment = {**os.environ, "JSWEEP_CACHE": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1]), done.stderr


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    misses, said = run(folder)
    assert misses > 0
    assert "compiled anew" not in said
    return folder


def test_a_second_process_compiles_nothing(cache):
    misses, said = run(cache)
    assert misses == 0
    assert "compiled anew" not in said


def test_a_cache_that_serves_nothing_is_told(cache, tmp_path):
    lost = tmp_path / "lost"
    shutil.copytree(cache, lost)
    for folder in lost.glob("*/xla"):
        shutil.rmtree(folder)
    misses, said = run(lost)
    assert misses > 0
    assert said.count("were compiled anew though an earlier run had compiled them") == 1
