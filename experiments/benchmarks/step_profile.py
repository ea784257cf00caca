"""Where the time of a training step goes, by XLA's own profile, and what stands between it and the machine's peak.

    python experiments/benchmarks/step_profile.py [--models mlp16-adam,...,attention,gru] [--rounds 3] [--json FILE]

The models are the workloads of `engine.py` and the families of `families.py`. Each one's training program runs in the width that
is fastest here, on all cores, once timed and once profiled. Every kernel of the step is of one kind: products (matrix
products and convolutions), elementwise (activations, the optimizer's update), reductions, gathers and scatters, or copies
(transposed, broadcast or plain). Printed are microseconds of a lane's step, the share of each kind in the kernels' time (a
profiled step is slower than another, by about as much for each kernel), the rate of the products alone and of the whole step
as shares of the machine's float32 GEMM peak, and the bytes a
second that the elementwise kernels move. Medians of the rounds.
"""

import argparse
import glob
import json
import math
import os
import re
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from machinery import last_line

NAMES = "mlp16-adam,mlp64-adam,mlp128-sgd,transformer-adam,attention,rnn,gru,lstm"
KINDS = ("products", "elementwise", "reductions", "gathers", "copies")
SHARES = (*KINDS, "of peak", "products of peak")
STEPS = 256  # of a call that is profiled
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
BYTES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "pred": 1, "s8": 1, "u8": 1}


@dataclass(frozen=True)
class Kernel:
    """An instruction that XLA runs as one: its kind, and its multiplications and additions and bytes each time."""

    kind: str
    operations: float
    bytes: float


# -- the compiled program, read --------------------------------------------------------------------------------------------


def kernels_of(text: str) -> dict[str, Kernel]:
    """The kernels of a program, by name, from its HLO as text."""
    computations, body = {}, []
    for line in text.splitlines():
        if line.endswith("{") and ("%" in line or line.startswith("ENTRY")):
            body = computations.setdefault(re.sub(r"^(ENTRY )?%?([\w.\-]+).*", r"\2", line), [])
        elif found := INSTRUCTION.match(line):
            body.append(found.groups())
    found = {}
    for instructions in computations.values():
        shapes = {name: shape for name, shape, _, _ in instructions}
        for name, shape, opcode, rest in instructions:
            called = re.search(r"(?:calls|to_apply)=%([\w.\-]+)", rest)
            inner = computations[called[1]] if called and opcode == "fusion" else [(name, shape, opcode, rest)]
            operands = re.findall(r"%([\w.\-]+)", rest.split("), ")[0])
            moved = _bytes(shape) + sum(_bytes(shapes.get(each, "")) for each in operands)
            inside = shapes | {each: of for each, of, _, _ in inner}
            work = sum(_operations(of, code, args, inside) for _, of, code, args in inner)
            found[name] = Kernel(_kind({code for _, _, code, _ in inner}), work, moved)
    return found


def _kind(opcodes: set[str]) -> str:
    if opcodes & {"dot", "convolution", "custom-call"}:
        return "products"
    if opcodes & {"gather", "scatter", "dynamic-slice", "dynamic-update-slice", "sort"}:
        return "gathers"
    if opcodes & {"reduce", "reduce-window"}:
        return "reductions"
    moves = {
        "parameter",
        "constant",
        "copy",
        "transpose",
        "bitcast",
        "broadcast",
        "reshape",
        "concatenate",
        "slice",
        "pad",
    }
    return "copies" if opcodes <= moves | {"iota", "tuple", "get-tuple-element"} else "elementwise"


def _operations(shape: str, opcode: str, rest: str, shapes: dict[str, str]) -> float:
    """Those of a matrix product; XLA makes products of the convolutions of the models measured here."""
    if opcode != "dot":
        return 0.0
    left = _dims(shapes[re.findall(r"%([\w.\-]+)", rest)[0]])
    axes = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest)
    assert axes is not None
    return 2.0 * math.prod(_dims(shape)) * math.prod(left[int(axis)] for axis in axes[1].split(",") if axis)


def _dims(shape: str) -> list[int]:
    found = ARRAY.search(shape)
    return [int(each) for each in found[2].split(",") if each] if found else []


def _bytes(shape: str) -> float:
    arrays = ((BYTES.get(kind, 0), dims) for kind, dims in ARRAY.findall(shape))
    return float(sum(size * math.prod(int(each) for each in dims.split(",") if each) for size, dims in arrays))


# -- measured --------------------------------------------------------------------------------------------------------------


def profiled(name: str, rounds: int) -> dict[str, float]:
    """A model's figures, by column; shares are of the time of a step."""
    import jax
    import jax.numpy as jnp

    import jsweep as js

    js.configure(cache=False)
    from contestants import family_task, ours
    from contestants.families import FAMILIES
    from contestants.workloads import WORKLOADS

    from jsweep.data.arrays import count_examples
    from jsweep.data.splits import train_like
    from jsweep.engine.compiling import compile_program
    from jsweep.engine.placement import default_workers
    from jsweep.engine.program import lower_train
    from jsweep.engine.tile_size import measure_width, timing
    from jsweep.runner.prepare import prepare

    made = ours.sweep(WORKLOADS[name], 1) if name in WORKLOADS else family_task.sweep(FAMILIES[name](), 32, 1)
    prepared = prepare(made)
    task, group, workers = prepared.setting.task, prepared.groups[0], default_workers()
    train = jax.tree.map(jnp.asarray, train_like(task.data))
    width = measure_width(task, group, workers)
    program = compile_program(lower_train(task, group, width, workers[0], count_examples(train)), workers[0])
    kernels = kernels_of(program.compiled.as_text())
    one_round = timing(program, group, width, train, workers, steps_a_call=STEPS)
    one_round()
    rows = [_round(one_round, kernels, width, len(workers)) for _ in range(rounds)]
    return {"lanes": width} | {column: statistics.median(row[column] for row in rows) for column in rows[0]}


def _round(one_round: Callable[[], float], kernels: dict[str, Kernel], width: int, workers: int) -> dict[str, float]:
    from engine import gemm_peak

    seconds, peak = one_round(), gemm_peak()
    spent, times = _spent(one_round)
    lane_steps = STEPS * width * workers
    kinds = Counter()
    for name, taken in spent.items():
        kinds[kernels[name].kind] += taken / workers / lane_steps
    operations = sum(kernels[name].operations * times[name] for name in spent) / lane_steps
    moved = sum(kernels[name].bytes * times[name] for name in spent if kernels[name].kind == "elementwise") / lane_steps
    shares = {kind: kinds[kind] / kinds.total() for kind in KINDS}
    taken = {kind: seconds * share for kind, share in shares.items()}
    return {
        "us": 1e6 * seconds,
        **shares,
        "of peak": operations / seconds / peak,
        "products of peak": operations / taken["products"] / peak,
        "elementwise GB/s": moved / taken["elementwise"] / 1e9,
    }


def _spent(one_round: Callable[[], float]) -> tuple[Counter, Counter]:
    """Seconds in each kernel, summed over the threads, and how often it ran."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            one_round()
        file = glob.glob(os.path.join(folder, "**", "*.xplane.pb"), recursive=True)[0]
        planes = jax.profiler.ProfileData.from_file(file).planes
        spent, times = Counter(), Counter()
        for event in (event for plane in planes for line in plane.lines for event in line.events):
            about = dict(event.stats)
            if about.get("hlo_module") == "jit_train" and not event.name.startswith("while"):
                spent[about["hlo_op"]] += event.duration_ns / 1e9
                times[about["hlo_op"]] += 1
    return spent, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=NAMES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        name, rounds = given.one
        print(json.dumps(profiled(name, int(rounds))))
        return
    import jax

    print(f"jax {jax.__version__}; shares of a step's time", flush=True)
    rows = []
    for name in given.models.split(","):
        row = json.loads(last_line([sys.executable, os.path.abspath(__file__), "--one", name, str(given.rounds)]))
        if not rows:
            print(f"{'model':<18}" + "".join(f"{column:>18}" for column in row))
        shown = (f"{value:18.0%}" if column in SHARES else f"{value:18.3g}" for column, value in row.items())
        print(f"{name:<18}" + "".join(shown), flush=True)
        rows.append({"model": name, **row})
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"jax": jax.__version__, "rows": rows}, file, indent=2)


if __name__ == "__main__":
    main()
