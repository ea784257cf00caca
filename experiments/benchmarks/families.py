"""jsweep's engine beside plain JAX on families of models of many shapes, in one run.

    python experiments/benchmarks/families.py [--families linear,conv,...] [--rounds 3] [--tile measure|auto|N] [--json FILE]

Each family trains its lanes (learning rates) by a jitted `vmap` of the whole training, by a jitted training of one lane after
another, both with JAX's defaults, and by jsweep's engine. Plain JAX and jsweep have a process each, in which rounds of about
half a second take turns; compiling is left out. Printed are medians in microseconds of a lane's step, with the spread of the
rounds ((highest - lowest) / median), and how many times faster jsweep is than the better of the two plain forms; a row below 0.95
is marked.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from contestants.families import BATCH, EXAMPLES, FAMILIES, Family

Times = dict[str, float]  # of each contestant, seconds for a lane's step
BEHIND = 0.95
LOOPED = 2  # lanes that the loop trains in a round
ROUND_SECONDS, MOST_STEPS = 0.5, 20_000


def plain(family: Family) -> Callable[[], Times]:
    """A round of the vmapped training of all lanes, and one of a few lanes trained one after another."""
    import jax
    import jax.numpy as jnp
    import optax

    x, y = jnp.asarray(family.x), jnp.asarray(family.y)
    rates = 1e-4 * 100 ** (jnp.arange(family.lanes) / max(family.lanes - 1, 1))

    def train(rate: jax.Array, key: jax.Array) -> jax.Array:
        params = family.init(key)
        transform = family.optimizer(rate)

        def step(carry, rows):
            params, state = carry
            value, gradients = jax.value_and_grad(family.loss)(params, x[rows], y[rows])
            updates, state = transform.update(gradients, state, params)
            return (optax.apply_updates(params, updates), state), value

        rows = jax.random.randint(key, (family.steps, BATCH), 0, EXAMPLES)
        return jax.lax.scan(step, (params, transform.init(params)), rows)[1][-1]

    together, alone, key = jax.jit(jax.vmap(train, in_axes=(0, None))), jax.jit(train), jax.random.key(0)

    def one_round() -> Times:
        begun = time.perf_counter()
        jax.block_until_ready(together(rates, key))
        middle = time.perf_counter()
        for rate in rates[:LOOPED]:
            jax.block_until_ready(alone(rate, key))
        steps = family.steps
        return {
            "vmap": (middle - begun) / (family.lanes * steps),
            "loop": (time.perf_counter() - middle) / (LOOPED * steps),
        }

    return one_round


def ours(family: Family, tile: str) -> Callable[[], Times]:
    """A round of all lanes through the engine, from their seeds."""
    import jsweep as js

    js.configure()
    from contestants.family_task import sweep

    from jsweep.engine.executors.threads import run
    from jsweep.engine.placement import default_workers
    from jsweep.runner.prepare import prepare
    from jsweep.runner.remaining import Remaining, divide

    prepared = prepare(sweep(family, family.lanes, int(tile) if tile.isdigit() else tile))
    workers = default_workers()
    work = divide(Remaining(prepared, frozenset(trial.id for trial in prepared.trials)), workers)
    kept: dict = {}

    def one_round() -> Times:
        begun = time.perf_counter()
        for _ in run(prepared.setting, work, workers, threading.Event(), kept=kept):
            pass
        seconds = (time.perf_counter() - begun) / (family.lanes * family.steps)
        return {"jsweep": seconds, "tile": work[0].tiles[0].width}

    return one_round


def serve(contestant: str, name: str, steps: int, tile: str) -> None:
    """Run one round for each line on standard input; answer with a line of JSON."""
    family = FAMILIES[name]()
    family = replace(family, steps=steps or family.steps)
    one_round = plain(family) if contestant == "plain" else ours(family, tile)
    for _ in sys.stdin:
        print(json.dumps(one_round()), flush=True)


class Contestant:
    """A process that trains a round when asked."""

    def __init__(self, contestant: str, name: str, steps: int, tile: str):
        command = [sys.executable, os.path.abspath(__file__), "--worker", contestant, name, str(steps), tile]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def round(self) -> Times:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        return {}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def compared(name: str, rounds: int, tile: str) -> dict[str, list[float]]:
    """The times of each contestant on one family, round by round; the first round compiles and is left out."""
    family = FAMILIES[name]()
    first = Contestant("plain", name, 0, tile)
    first.round()
    seconds = first.round()["vmap"] * family.lanes
    first.close()
    steps = min(max(family.steps, round(ROUND_SECONDS / seconds)), MOST_STEPS)
    contestants = [Contestant(each, name, steps, tile) for each in ("plain", "jsweep")]
    times: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for contestant in contestants:
            for each, value in contestant.round().items():
                times.setdefault(each, [])
                times[each] += [value] if number else []
    for contestant in contestants:
        contestant.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tile", default="measure")
    parser.add_argument("--json")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        contestant, name, steps, tile = given.worker
        serve(contestant, name, int(steps), tile)
        return
    names = given.families.split(",")
    for unknown in set(names) - FAMILIES.keys():
        parser.error(f"{unknown!r} is no family: choose of {', '.join(FAMILIES)}")
    import jax

    print(f"jax {jax.__version__}; us a lane's step (spread)")
    print(f"{'family':<20}{'vmap':>16}{'loop':>16}{'jsweep':>16}{'tile':>6}{'faster':>8}", flush=True)
    rows = []
    for name in names:
        times = compared(name, given.rounds, given.tile)
        if len(times.get("jsweep", ())) < given.rounds or len(times.get("vmap", ())) < given.rounds:
            print(f"{name:<20}  a contestant failed", flush=True)
            continue
        shown = ("vmap", "loop", "jsweep")
        middle = {each: 1e6 * statistics.median(times[each]) for each in shown}
        spread = {each: 1e6 * (max(times[each]) - min(times[each])) / middle[each] for each in shown}
        faster, width = min(middle["vmap"], middle["loop"]) / middle["jsweep"], int(times["tile"][-1])
        cells = "".join(f"{middle[each]:10.1f} ({spread[each]:3.0%})" for each in shown)
        print(f"{name:<20}{cells}{width:6}{faster:8.2f}{'  <- behind' if faster < BEHIND else ''}", flush=True)
        rows.append({"family": name, "tile": width, "faster": faster, **middle, "spread": spread})
    ratios = [row["faster"] for row in rows]
    behind = sum(ratio < BEHIND for ratio in ratios)
    print(f"{len(rows)} families: median {statistics.median(ratios):.2f}, least {min(ratios):.2f}, {behind} behind")
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"jax": jax.__version__, "rows": rows}, file, indent=2)


if __name__ == "__main__":
    main()
