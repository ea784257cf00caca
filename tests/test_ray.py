"""Ray: a cluster of two nodes on this machine gives the record of threads to the bit, whatever of it dies."""

import signal
import sys
import warnings

import pytest
from click.testing import CliRunner
from conformance import make_task, record_of, sweep_of

import jsweep as js
from jsweep.cli import cli
from jsweep.engine.executors import remote

TASK = make_task()


def test_without_ray_one_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(js.MissingExtraError, match=r"^the package ray is not installed: pip install 'jsweep\[ray\]'.$"):
        js.ray()


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core each."""
    ray, handler = pytest.importorskip("ray"), signal.getsignal(signal.SIGTERM)
    Cluster = pytest.importorskip("ray.cluster_utils").Cluster
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # Ray's processes are started from one with JAX's threads, and left to it to end
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        signal.signal(signal.SIGTERM, handler)  # nodes of a process set one of their own
        yield nodes
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture(scope="module")
def executor(cluster):
    return js.ray(cluster.address)


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def test_a_cluster_of_two_nodes_gives_the_record_of_threads(executor, monkeypatch):
    assert executor.workers == 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # left to runs
    monkeypatch.setattr(remote, "JOB_SECONDS", 0.0)
    for name in ("halving", "tpe"):
        assert record_of(js.run(sweep_of(TASK, name), executor=executor)) == record_of(js.run(sweep_of(TASK, name)))


def test_a_node_that_dies_loses_nothing(cluster, executor, monkeypatch):
    monkeypatch.setattr(remote, "JOB_SECONDS", 0.0)

    class Kill(js.Callback):
        def on_trial(self, trial, scores):
            for node in list(cluster.worker_nodes):
                cluster.remove_node(node, allow_graceful=False)

    found = js.run(sweep_of(TASK, "programs"), executor=executor, callbacks=[Kill()])
    assert not cluster.worker_nodes
    assert record_of(found) == record_of(js.run(sweep_of(TASK, "programs")))


def test_the_command_sends_what_its_file_defines(executor, tmp_path):
    (tmp_path / "named_by_nobody.py").write_text(EXPERIMENT)
    command = ["run", str(tmp_path / "named_by_nobody.py"), "--store", str(tmp_path / "a.db")]
    done = CliRunner().invoke(cli, [*command, "--executor", "ray"])
    assert done.exit_code == 0, done.output
    assert "best: " in done.output
    refused = CliRunner().invoke(cli, [*command, "--executor", "dask"])
    assert refused.exit_code != 0
    assert "--executor dask is not valid" in refused.output + str(refused.exception)


EXPERIMENT = """
import jax.numpy as jnp, numpy as np
import jsweep as js

def init(config, key):
    return jnp.ones(3)

def step(config, w, batch, key):
    return w - config["rate"] * w, {}

def evaluate(config, w, split):
    return {"loss": (w ** 2).sum()}

def sweep():
    x = np.ones((16, 3), np.float32)
    task = js.Task(init, step, evaluate, data=js.Splits((x,), (x,)), batch_size=4, name="tiny")
    return js.Sweep(task, js.grid({"rate": [0.1, 0.2]}), steps=3)
"""


def test_what_cannot_be_used_is_refused(executor):
    with pytest.raises(js.ConfigError, match="come too late, as this process uses Ray already"):
        js.ray("192.0.2.1:6379")
    with pytest.raises(js.ConfigError, match="are more than the cluster has"):
        js.ray(resources={"GPU": 1})
    with pytest.raises(js.ConfigError, match="resources=.* is not valid"):
        js.ray(resources={"CPU": 0})
