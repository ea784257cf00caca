"""From one lane to thousands on an accelerator: jsweep beside plain JAX and PyTorch, on families of models.

    python experiments/benchmarks/gpu.py [--families mlp64,conv] [--lanes 1,64,1024,8192] [--rounds 5] [--json FILE]

For each family and number of lanes the whole training is timed, from the seeds to the scores, data on the device: jsweep's tile
program in the engine's own loop, and what a JAX user writes, a scan over the steps with the learning rates vmapped. Contestants
take turns, after a first round that compiles. For `mlp64`, PyTorch's usual loop (one lane) and its `torch.func` ensemble
stand beside them where PyTorch is installed. Printed are medians in microseconds of a lane's step with the spread of the rounds
((highest - lowest) / median). Bits are compared by `experiments/faults/wide.py`.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import jax
import jax.numpy as jnp
import numpy as np
import optax
from contestants.families import BATCH, EXAMPLES, FAMILIES, Family
from contestants.family_task import sweep

from jsweep.engine.executors.threads import on_device
from jsweep.engine.program import compile_tile
from jsweep.engine.tile import TileContext, train_tile
from jsweep.planning import Tile
from jsweep.runner.prepare import prepare

Round = Callable[[], None]
TORCH = "mlp64"  # the family that is written in PyTorch, too
COMPILERS = 4  # threads that compile


def ours(family: Family, lanes: int, steps: int) -> Round:
    """jsweep's tile program; a round trains the tile from its seeds."""
    prepared = prepare(sweep(family, lanes, lanes, steps))
    device, group = jax.devices()[0], prepared.groups[0]
    program, _ = compile_tile(prepared.setting.task, group, lanes, device)
    context = TileContext(prepared.setting, group, program, on_device(prepared.setting, device, False), device)

    def one_round() -> None:
        for segment in train_tile(context, Tile(group.trials, len(group.trials))):
            jax.block_until_ready(segment.state)

    return one_round


def plain(family: Family, lanes: int, steps: int) -> Round:
    """The steps scanned, the learning rates vmapped, all of it jitted."""
    x, y = jnp.asarray(family.x), jnp.asarray(family.y)
    rates, key = 1e-4 * 100 ** (jnp.arange(lanes) / max(lanes - 1, 1)), jax.random.key(0)

    def train(rate: jax.Array, key: jax.Array) -> jax.Array:
        params = family.init(key)
        transform = family.optimizer(rate)

        def step(carry, rows):
            params, state = carry
            value, gradients = jax.value_and_grad(family.loss)(params, x[rows], y[rows])
            updates, state = transform.update(gradients, state, params)
            return (optax.apply_updates(params, updates), state), value

        rows = jax.random.randint(key, (steps, BATCH), 0, EXAMPLES)
        return jax.lax.scan(step, (params, transform.init(params)), rows)[1].mean()

    alone = jax.jit(lambda rates, key: train(rates[0], key))
    program = (alone if lanes == 1 else jax.jit(jax.vmap(train, in_axes=(0, None)))).lower(rates, key).compile()
    return lambda: jax.block_until_ready(program(rates, key))


def torch_loop(family: Family, steps: int) -> Round:
    """One lane in PyTorch's usual loop."""
    import torch

    device, model = _torch_model()
    x, y = torch.tensor(family.x, device=device), torch.tensor(family.y, device=device).long()

    def one_round() -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(steps):
            rows = torch.randint(0, EXAMPLES, (BATCH,), device=device)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        _wait()

    return one_round


def torch_ensemble(family: Family, lanes: int, steps: int) -> Round:
    """All lanes by `torch.func`: vmap of grad, Adam written out over the stacked parameters."""
    import torch
    from torch.func import functional_call, grad, vmap

    device, model = _torch_model()
    x, y = torch.tensor(family.x, device=device), torch.tensor(family.y, device=device).long()
    loss = lambda params, bx, by: torch.nn.functional.cross_entropy(functional_call(model, params, (bx,)), by)
    gradients = vmap(grad(loss), in_dims=(0, None, None))
    rates = torch.logspace(-4, -2, lanes, device=device)

    def one_round() -> None:
        params = {k: v.detach().repeat(lanes, *[1] * v.dim()).clone() for k, v in model.named_parameters()}
        first = {k: torch.zeros_like(v) for k, v in params.items()}
        second = {k: torch.zeros_like(v) for k, v in params.items()}
        for step in range(1, steps + 1):
            rows = torch.randint(0, EXAMPLES, (BATCH,), device=device)
            found = gradients(params, x[rows], y[rows])
            for name, g in found.items():
                first[name].mul_(0.9).add_(g, alpha=0.1)
                second[name].mul_(0.999).addcmul_(g, g, value=0.001)
                size = rates.view(-1, *[1] * (g.dim() - 1)) / (1 - 0.9**step)
                params[name].sub_(size * first[name] / ((second[name] / (1 - 0.999**step)).sqrt() + 1e-8))
        _wait()

    return one_round


def _torch_model():
    import torch

    device, nn = "cuda" if torch.cuda.is_available() else "cpu", torch.nn
    layers = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)]
    return device, nn.Sequential(*layers).to(device)


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def contestants(name: str, lanes: int, steps: int) -> dict[str, Callable[[], Round]]:
    """By name, functions that compile what is timed."""
    family = FAMILIES[name]()
    made = {"jsweep": lambda: ours(family, lanes, steps), "vmap": lambda: plain(family, lanes, steps)}
    if name == TORCH:
        made["torch"] = lambda: torch_loop(family, steps) if lanes == 1 else torch_ensemble(family, lanes, steps)
    return made


def compiled(make: Callable[[], Round]) -> Round | str:
    """The contestant, warmed up, or why there is none."""
    try:
        one_round = make()
        one_round()
        return one_round
    except ImportError:
        return "not installed (pip install 'jsweep[peers]')"
    except Exception as error:  # the others are timed
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--families", default="linear,mlp16,mlp64,layer_norm,transformer,lstm,conv,depthwise,embeddings"
    )
    parser.add_argument("--lanes", default="1,64,1024,8192")
    parser.add_argument("--steps", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    parser.add_argument("--on-cpu", action="store_true", help="run where there is no accelerator, to try the command")
    given = parser.parse_args()
    if jax.default_backend() == "cpu" and not given.on_cpu:
        print("not measured: no accelerator found")
        return
    places = [(name, int(lanes)) for name in given.families.split(",") for lanes in given.lanes.split(",")]
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {given.steps} steps, us a lane's step (spread)")
    print(f"{'family':<20}{'lanes':>6}{'jsweep':>18}{'vmap':>18}{'faster':>8}{'torch':>18}", flush=True)
    rows = []
    with ThreadPoolExecutor(COMPILERS) as pool:
        begun = {
            (*place, each): pool.submit(compiled, make)
            for place in places
            for each, make in contestants(*place, given.steps).items()
        }
        found = {key: future.result() for key, future in begun.items()}
    for key, failed in found.items():
        if isinstance(failed, str):
            print(*key, failed)
    ready = {key: one_round for key, one_round in found.items() if not isinstance(one_round, str)}
    for place in places:
        own = {each: one_round for (*at, each), one_round in ready.items() if tuple(at) == place}
        times: dict[str, list[float]] = {each: [] for each in own}
        for _ in range(given.rounds):
            for each, one_round in own.items():
                start = time.perf_counter()
                one_round()
                times[each].append((time.perf_counter() - start) / (place[1] * given.steps))
        rows.append(row(*place, times))
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"device": jax.devices()[0].device_kind, "jax": jax.__version__, "rows": rows}, file, indent=2)


def row(name: str, lanes: int, times: dict[str, list[float]]) -> dict:
    """A line of the table, printed."""
    middle = {each: 1e6 * statistics.median(found) for each, found in times.items()}
    spread = {each: 1e6 * np.ptp(found) / middle[each] for each, found in times.items()}
    cell = lambda each: f"{middle[each]:10.3f} ({spread[each]:4.0%})" if each in middle else ""
    faster = middle.get("vmap", np.nan) / middle.get("jsweep", np.nan)
    shown = f"{cell('jsweep'):>18}{cell('vmap'):>18}{faster:8.2f}{cell('torch'):>18}"
    print(f"{name:<20}{lanes:6}{shown}", flush=True)
    return {"family": name, "lanes": lanes, "faster": faster, **middle, "spread": spread}


if __name__ == "__main__":
    main()
