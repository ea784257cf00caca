"""Kill what a sweep on many machines consists of, at random times, and compare its record with an undisturbed one, bit by bit.

    python experiments/faults/executors.py --kills 50

In turn: processes of Ray's workers, nodes of the cluster, the driver; shards that train into records of their own, and the merge
of these. What was killed is started again. All trials, scores and final states are compared.
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

from kill import contents, faults_of

SHARDS = 3
PER_RECORD = 12  # kills of shards and their merge
LONGEST_RUN = 300.0  # seconds after the last kill within which a process must have ended

CHILD = """
import sys, warnings
warnings.simplefilter("ignore")
import jsweep as js
from mixed import mixed
from jsweep.engine.executors import remote
from jsweep.runner import checkpointing
checkpointing.LEAST_SECONDS, remote.JOB_SECONDS = 0.0, 0.0  # a checkpoint and a job for every segment
if __name__ == "__main__":
    what, store, *more = sys.argv[1:]
    if what == "merge":
        print(js.merge(store, more))
    else:
        sweep = mixed(store, {trials}, steps={steps}, every=20, checkpoints="all")
        options = {{"shard": more[0]}} if what == "shard" else {{"executor": js.ray(more[0])}} if what == "ray" else {{}}
        js.run(sweep, progress="off", **options).close()
"""


class Tally:
    """Kills by what was killed, and how many are left of all."""

    def __init__(self, kills, longest, seed):
        self.left, self.longest, self.rng, self.counts = kills, longest, random.Random(seed), collections.Counter()
        self.spared = 0  # kills that are for later

    @property
    def now(self):
        """The kills that are left for this part."""
        return max(0, self.left - self.spared)

    def wait(self, process):
        """Wait a random time; whether the process still runs then and is to suffer a kill."""
        deadline = time.monotonic() + (self.rng.uniform(0.0, self.longest) if self.now else LONGEST_RUN)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        if process.poll() is None and not self.now:
            process.kill()
            sys.exit("a run does not end")
        return process.poll() is None

    def count(self, what):
        self.counts[what] += 1
        self.left -= 1
        print(f"killed: {what}; {self.left} left", flush=True)


def under_fire(start, tally, kill):
    """Run a process until it has ended well, and let ``kill`` kill something of it at random times."""
    process = start()
    while True:
        if tally.wait(process):
            kill(process)
        if process.poll() is None:
            continue
        if process.returncode == 0:
            return
        if process.returncode != -signal.SIGKILL:
            said = process.stderr.read()
            if b"workers died" not in said:
                sys.exit(f"a run ended with an error: {said[-1000:].decode()}")
            tally.counts["runs that gave up"] += 1
        process = start()


def workers_of(cluster):
    """The processes that train in the cluster: children of its raylets."""
    raylets = {info.process.pid for node in cluster.list_all_nodes() for info in node.all_processes.get("raylet", ())}
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            title = (path.parent / "cmdline").read_text()
            if parent in raylets and title.startswith(("ray::train_job", "ray::IDLE")):
                found.append(int(path.parent.name))
    return found


def on_ray(cluster, start, tally):
    """A sweep on Ray: a worker, a node or the driver is killed."""

    def kill(driver):
        what = tally.rng.choice(["worker", "node", "driver"])
        if what == "driver":
            driver.send_signal(signal.SIGKILL)
            driver.wait()
        elif what == "node":
            node = tally.rng.choice(sorted(cluster.worker_nodes, key=lambda each: each.unique_id))
            cluster.remove_node(node, allow_graceful=False)
            cluster.add_node(num_cpus=1)
        else:
            workers = workers_of(cluster)
            if not workers:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(tally.rng.choice(workers), signal.SIGKILL)
        tally.count(what)

    under_fire(start, tally, kill)


def killing(what, tally):
    def kill(process):
        process.send_signal(signal.SIGKILL)
        process.wait()
        tally.count(what)

    return kill


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--longest", type=float, default=6.0, help="longest time in seconds between two kills")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    from ray.cluster_utils import Cluster

    warnings.simplefilter("ignore")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    here = str(Path(__file__).parent)  # where workers find the task's module
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    code = CHILD.format(trials=given.trials, steps=given.steps)
    tally, different, records = Tally(given.kills, given.longest, given.seed), 0, 0
    begun = time.perf_counter()

    def start(*arguments):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if start("plain", folder / "undisturbed.db").wait():
            sys.exit("the undisturbed run failed")
        undisturbed = contents(folder / "undisturbed.db")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        cluster.add_node(num_cpus=1)
        try:
            while tally.left:
                tally.spared = tally.left // 2  # for shards and their merge
                store = folder / f"ray{records}.db"
                on_ray(cluster, partial(start, "ray", store, cluster.address), tally)
                different += report(f"on Ray, record {records}", store, undisturbed)
                tally.spared = max(tally.left - PER_RECORD, tally.left // 3)
                parts = [folder / f"part{records}-{number}.db" for number in range(SHARDS)]
                for number, part in enumerate(parts, 1):
                    under_fire(partial(start, "shard", part, f"{number}/{SHARDS}"), tally, killing("shard", tally))
                merged, whole = folder / f"merged{records}.db", tally.longest
                tally.longest, tally.spared = 1.5, 0  # a merge is shorter
                under_fire(partial(start, "merge", merged, *parts), tally, killing("merge", tally))
                tally.longest = whole
                different += report(f"merged, record {records}", merged, undisturbed)
                records += 2
        finally:
            cluster.shutdown()
    kills = ", ".join(f"{count} {what}" for what, count in sorted(tally.counts.items()))
    print(
        f"{given.kills} kills ({kills}) over {records} records of {len(undisturbed['trials'])} trials, "
        f"{len(undisturbed['scores'])} scores and {len(undisturbed['states'])} final states each, in "
        f"{time.perf_counter() - begun:.0f} s: {different} differences"
    )
    sys.exit(1 if different or len(undisturbed["trials"]) != given.trials else 0)


def report(name, store, undisturbed):
    faults = faults_of(store, undisturbed)
    for fault in faults:
        print(f"{name}: {fault}")
    print(f"{name}: {len(faults)} differences", flush=True)
    return len(faults)


if __name__ == "__main__":
    main()
