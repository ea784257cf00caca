"""In a notebook: cells are run again, changed and interrupted, and the record notices what matters."""

import os
import signal
import threading
import time

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

TASK = """
import threading, numpy as np, jax, jax.numpy as jnp, optax
import jsweep as js

rng = np.random.default_rng(0)
x = rng.normal(size=(200, 4)).astype(np.float32)
y = (x.sum(1) > 0).astype(np.int32)

def init(config, key):
    return {"w": jax.random.normal(key, (4, 2))}

def optimizer(config):
    return optax.sgd(config["learning_rate"])
"""
APPLY = """
def apply(config, params, x, key):
    return x @ params["w"]
"""
SWEEP = """
class Segments(js.Callback):
    count = 0
    def on_segment(self, event):
        self.count += 1

def run(steps=20, name="cells", **options):
    data, loss = js.split(x, y, validation=0.25, key=0), js.losses.softmax_cross_entropy
    task = js.supervised(init, apply, loss=loss, optimizer=optimizer, data=data)
    configs, heard = js.grid({"learning_rate": [0.1, 0.2]}), Segments()
    sweep = js.Sweep(task, configs, steps=steps, store="notebook.db", name=name, **options)
    session = js.run(sweep, callbacks=[heard])
    print(heard.count, "segments")
    return session
"""
LONG = 'run(steps=10_000_000, evaluate_every=20_000, name="long")'


def texts(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.fixture
def kernel(tmp_path):
    """What runs code as a cell in a kernel, and the folder that it runs in."""
    client = nbclient.NotebookClient(
        nbformat.v4.new_notebook(), timeout=120, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}
    )

    def run(code):
        client.nb.cells.append(nbformat.v4.new_code_cell(code))
        return client.execute_cell(client.nb.cells[-1], len(client.nb.cells) - 1)

    with client.setup_kernel():
        yield run, tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_cells_are_run_again_changed_and_interrupted(kernel):
    run, folder = kernel
    for code in (TASK, APPLY, SWEEP):
        assert run(code).outputs == []
    first = run("session = run()")
    shown = [output.data for output in first.outputs if output.output_type == "display_data"]
    assert len(shown) == 1, first.outputs  # replaced as it goes on
    assert "2/2 trials" in shown[0]["text/html"]
    assert "2/2 trials" in shown[0]["text/plain"]
    assert "<table" in run("session").outputs[0].data["text/html"]

    run(TASK), run(APPLY), run(SWEEP)
    assert texts(run("session = run()")) == "0 segments\n"  # the same functions, defined again
    run(APPLY.replace('x @ params["w"]', '2 * x @ params["w"]'))
    changed = run("run()").outputs[-1]
    assert changed.ename == "IncompatibleSweepError"
    assert "what it computes has changed in" in changed.evalue
    run(APPLY)
    assert texts(run("session = run()")) == "0 segments\n"

    def interrupt():
        while len(list(folder.glob("notebook.db.checkpoints/*.safetensors"))) == 0:  # until a segment is on record
            time.sleep(0.1)
        os.kill(pid, signal.SIGINT)  # as the notebook's button does

    pid = int(texts(run("import os; print(os.getpid())")))
    thread = threading.Thread(target=interrupt)
    thread.start()
    stopped = run(LONG)
    thread.join()
    assert stopped.outputs[-1].ename == "KeyboardInterrupt"
    count = run('print(sum(t.done > 0 for t in js.open("notebook.db", "long").trials()))')
    assert texts(count) == "2\n"  # recorded
    names = run('print([t.name for t in threading.enumerate() if t.name.startswith("jsweep")])')
    assert texts(names) == "[]\n"
