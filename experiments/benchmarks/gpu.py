"""One lane against a thousand on an accelerator: the digits perceptron (64-64-64-10, Adam, batch 64).

    python experiments/benchmarks/gpu.py [--lanes 1024] [--steps 1000] [--rounds 5] [--json FILE]

jsweep beside plain `jit(vmap)`, a jitted lane alone, PyTorch's eager loop (one lane) and its `torch.func` ensemble, in
interleaved rounds after a first one that compiles. Times are for training alone, data on the device.
"""

import argparse
import functools
import json
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jsweep as js

WIDTH, BATCH = 64, 64


def digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return js.split((x / 16).astype(np.float32), y.astype(np.int32), key=0)


def init(config, key):
    return js.models.init_mlp(key, [64, WIDTH, WIDTH, 10])


def apply(config, params, x, key):
    return js.models.apply_mlp(params, x)


def jsweep_rounds(lanes, steps, data):
    """jsweep's tile program, compiled once; a round trains the tile from its seeds through the engine's own loop."""
    from jsweep.engine.executors.threads import on_device
    from jsweep.engine.program import compile_tile
    from jsweep.engine.tile import TileContext, train_tile
    from jsweep.planning import Tile
    from jsweep.runner.prepare import prepare
    from jsweep.runner.sweep import Sweep

    optimizer = lambda config: optax.adam(config["learning_rate"])
    task = js.supervised(
        init, apply, loss=js.losses.softmax_cross_entropy, optimizer=optimizer, data=data, batch_size=BATCH, name="gpu"
    )
    rates = js.logspace(1e-4, 1e-1, lanes) if lanes > 1 else [1e-3]
    sweep = Sweep(task, js.grid({"learning_rate": rates}), steps=steps, evaluate_every=steps)
    prepared = prepare(sweep)
    device, group = jax.devices()[0], prepared.groups[0]
    program, _ = compile_tile(task, group, lanes, device)
    resident = on_device(prepared.setting, device, False)
    context = TileContext(prepared.setting, group, program, resident, device)

    def one_round():
        begun = time.perf_counter()
        for segment in train_tile(context, Tile(group.trials, len(group.trials))):
            jax.block_until_ready(segment.state)
        return time.perf_counter() - begun

    return one_round


def plain_vmap_rounds(lanes, steps, data):
    """What a JAX user writes: scan the steps, vmap the learning rate, jit."""
    x, y = jax.device_put(data.train)

    def train(rate, key):
        params = init({}, key)
        transform = optax.adam(rate)
        rows = jax.random.randint(key, (steps, BATCH), 0, len(y))

        def step(carry, index):
            params, state = carry
            loss = lambda p: optax.softmax_cross_entropy_with_integer_labels(
                apply({}, p, x[index], None), y[index]
            ).mean()
            value, gradients = jax.value_and_grad(loss)(params)
            updates, state = transform.update(gradients, state)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, transform.init(params)), rows)

    program = jax.jit(jax.vmap(train)) if lanes > 1 else jax.jit(train)
    rates = jnp.geomspace(1e-4, 1e-1, lanes) if lanes > 1 else jnp.float32(1e-3)
    keys = jax.random.split(jax.random.key(0), lanes) if lanes > 1 else jax.random.key(0)

    def one_round():
        begun = time.perf_counter()
        jax.block_until_ready(program(rates, keys))
        return time.perf_counter() - begun

    return one_round


def _torch_model(torch, device):
    nn = torch.nn
    layers = [nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10)]
    return nn.Sequential(*layers).to(device)


def torch_eager_rounds(steps, data):
    """One lane in PyTorch's usual loop."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, y = torch.tensor(data.train[0], device=device), torch.tensor(data.train[1], device=device).long()

    def one_round():
        model = _torch_model(torch, device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        _wait(torch)
        begun = time.perf_counter()
        for _ in range(steps):
            rows = torch.randint(0, len(y), (BATCH,), device=device)
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        _wait(torch)
        return time.perf_counter() - begun

    return one_round


def torch_func_rounds(lanes, steps, data):
    """An ensemble by `torch.func`: vmap of grad, Adam written out over the stacked parameters."""
    import torch
    from torch.func import functional_call, grad, vmap

    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, y = torch.tensor(data.train[0], device=device), torch.tensor(data.train[1], device=device).long()
    model = _torch_model(torch, device)
    loss = lambda params, bx, by: torch.nn.functional.cross_entropy(functional_call(model, params, (bx,)), by)
    gradients = vmap(grad(loss))
    rates = torch.logspace(-4, -1, lanes, device=device)

    def one_round():
        params = {k: v.detach().repeat(lanes, *[1] * v.dim()).clone() for k, v in model.named_parameters()}
        first = {k: torch.zeros_like(v) for k, v in params.items()}
        second = {k: torch.zeros_like(v) for k, v in params.items()}
        _wait(torch)
        begun = time.perf_counter()
        for step in range(1, steps + 1):
            rows = torch.randint(0, len(y), (lanes, BATCH), device=device)
            found = gradients(params, x[rows], y[rows])
            for name, g in found.items():
                first[name].mul_(0.9).add_(g, alpha=0.1)
                second[name].mul_(0.999).addcmul_(g, g, value=0.001)
                size = rates.view(-1, *[1] * (g.dim() - 1)) / (1 - 0.9**step)
                params[name].sub_(size * first[name] / ((second[name] / (1 - 0.999**step)).sqrt() + 1e-8))
        _wait(torch)
        return time.perf_counter() - begun

    return one_round


def _wait(torch):
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("--lanes", 1024), ("--steps", 1000), ("--rounds", 5)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--json")
    parser.add_argument("--on-cpu", action="store_true", help="run where there is no accelerator, to try the command")
    given = parser.parse_args()
    if jax.default_backend() == "cpu" and not given.on_cpu:
        print("not measured: no accelerator found")
        return
    data = digits()
    made = {
        "jsweep, 1 lane": (1, functools.partial(jsweep_rounds, 1)),
        f"jsweep, {given.lanes} lanes": (given.lanes, functools.partial(jsweep_rounds, given.lanes)),
        "jitted scan, 1 lane": (1, functools.partial(plain_vmap_rounds, 1)),
        f"jit(vmap), {given.lanes} lanes": (given.lanes, functools.partial(plain_vmap_rounds, given.lanes)),
        "PyTorch eager, 1 lane": (1, torch_eager_rounds),
        f"torch.func, {given.lanes} lanes": (given.lanes, functools.partial(torch_func_rounds, given.lanes)),
    }
    runners = {}
    for name, (lanes, make) in made.items():
        try:
            runners[name] = (lanes, make(given.steps, data))
        except ImportError:
            print(f"{name}: not installed (pip install 'jsweep[peers]')")
    times = {name: [] for name in runners}
    for turn in range(given.rounds + 1):
        for name, (_, one_round) in runners.items():
            seconds = one_round()
            if turn:  # the first compiles and warms up
                times[name].append(seconds)
    report(times, {name: lanes for name, (lanes, _) in runners.items()}, given)


def report(times, lanes, given):
    base = statistics.median(times["jsweep, 1 lane"])
    many = statistics.median(times[f"jsweep, {given.lanes} lanes"]) / given.lanes
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {given.steps} steps, {given.rounds} rounds")
    rows = []
    for name, found in times.items():
        median = statistics.median(found)
        rows.append(
            {
                "contestant": name,
                "seconds": median,
                "from": min(found),
                "to": max(found),
                "ms_per_lane": 1e3 * median / lanes[name],
                "times_jsweep_1_lane": median / base,
                "per_lane_times_jsweep": median / lanes[name] / many,
            }
        )
        row = rows[-1]
        print(
            f"{name:24} {median:8.3f} s ({min(found):.3f} to {max(found):.3f})  {row['ms_per_lane']:9.3f} ms/lane  "
            f"{row['times_jsweep_1_lane']:6.2f} x one jsweep lane  {row['per_lane_times_jsweep']:8.2f} x jsweep a lane"
        )
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"device": jax.devices()[0].device_kind, "rows": rows}, file, indent=2)


if __name__ == "__main__":
    main()
