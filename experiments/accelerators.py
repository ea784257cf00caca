"""The tile programs of the benchmark families compiled ahead of time for accelerators that are not there.

    python experiments/accelerators.py --on v5e        # v6e as well: pip install 'jax[tpu]'
    python experiments/accelerators.py --on h100       # pip install 'jax[cuda13]' (4.4 GB)
    python experiments/accelerators.py --table FILE... # the figures of such runs as docs/accelerators.md has them
    options: [--families mlp64,conv] [--lanes 1,64,1024,8192] [--json FILE]

It needs jax 0.12 (Python 3.12 or newer) and no device. For each family and number of lanes it prints what a training step
is on that device: kernels (for TPUs fusions) of the loop's body, copies, transposes and gathers among them, transfers from and
to the host, memory, and for TPUs the floating-point operations and bytes of a step as XLA counts them, with the time that
takes by the roofline: the larger of operations by the peak and bytes by the memory's bandwidth (an upper bound of that, as
XLA counts bytes that stay on the chip, too). "planned" is what `jsweep plan --on` predicts from the program compiled on CPU;
XLA tells no operations and bytes of CUDA programs, for which it is all there is. Nothing is timed.
"""

import argparse
import collections
import functools
import json
import os
import re
import sys
import time
from pathlib import Path

os.environ |= {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
}
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "benchmarks"))

import jax
from contestants.families import EXAMPLES, FAMILIES
from contestants.family_task import sweep
from jax.experimental import topologies

from jsweep.engine.accelerators import ACCELERATORS, Accelerator, counted, lane_cost
from jsweep.engine.program import lower_train
from jsweep.runner.prepare import prepare

# As XLA's own tests describe it; the memory's bandwidth and size are those of the SXM card.
H100 = """gpu_device_info { threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3352320000000
l2_cache_size: 52428800 clock_rate_ghz: 1.98 device_memory_size: 84942979072 shared_memory_per_block_optin: 232448
cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536 }
platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 patch: 0 } device_description_str: "NVIDIA H100 80GB HBM3" """
KERNELS = ("fusion", "custom-call", "convolution", "dot", "copy", "transpose", "gather", "scatter", "sort", "reduce")
NOTHING_TO_RUN = ("AllocateBuffer", "AssumeGatherIndicesInBound", "ConcatBitcast", "GatherScatterIndicesBitpacked")
HOST = ("infeed", "outfeed", "send", "recv", "host-transfer", "xla_ffi_python", "callback")


def device_of(kind: str) -> jax.Device:
    """A device of a kind that is described and not there."""
    if kind == "h100":
        topology = topologies.get_topology_desc(
            platform="cuda", topology_name="1x1x1", topology="1x1x1", target_config=H100
        )
    else:
        topology = topologies.get_topology_desc(platform="tpu", topology_name=f"{kind}:2x2")
    return topology.devices[0]


def report(family: str, lanes: int, device: jax.Device, accelerator: Accelerator) -> dict:
    """One line of the table."""
    made = FAMILIES[family]()
    group = prepare(sweep(made, 2, tile=2)).groups[0]
    lowered = lower_train(_task(made), group, lanes, device, EXAMPLES)
    begun = time.perf_counter()
    compiled = lowered.compile()  # without the compilation cache, which cannot load what no device is there for
    seconds = time.perf_counter() - begun
    text, memory = compiled.as_text() or "", compiled.memory_analysis()
    assert memory is not None
    ops = _ops_of_step(text)
    flops, accessed = counted(compiled) or (float("nan"), float("nan"))
    planned = planned_step(family)
    return {
        "family": family,
        "lanes": lanes,
        "kernels": sum(ops[name] for name in KERNELS),
        "ops": {name: count for name, count in ops.items() if name in KERNELS and count},
        "grouped_convolutions": len(re.findall(r"feature_group_count=(?!1\b)\d+", text)),
        "host": sum(text.count(name) for name in HOST),
        "arguments_mb": memory.argument_size_in_bytes / 1e6,
        "temporary_mb": memory.temp_size_in_bytes / 1e6,
        "flops": flops,
        "bytes": accessed,
        "microseconds": 1e6 * accelerator.seconds(flops, accessed),
        "planned_microseconds": 1e6 * accelerator.seconds(lanes * planned.flops, lanes * planned.accessed),
        "planned_mb": lanes * planned.held / 1e6,
        "compile_seconds": seconds,
    }


@functools.cache
def planned_step(family: str):
    """What the plan takes a lane's step to cost."""
    made = FAMILIES[family]()
    return lane_cost(_task(made), prepare(sweep(made, 2, tile=2)).groups[0]).step


def _task(family):
    return sweep(family, 2, tile=2).task


def _ops_of_step(text: str) -> collections.Counter:
    """The operations of the outermost loop's body, which is a training step."""
    bodies = set(re.findall(r"body=%?([\w.\-]+)", text))
    found = [re.search(rf"\n%?{re.escape(name)} \(.*?\n}}", text, re.S) for name in bodies]
    lines = [[line for line in body.group(0).splitlines() if not _only_notes(line)] for body in found if body]
    counts = [collections.Counter(re.findall(r"\s([a-z][\w\-]*)\(", "\n".join(own))) for own in lines]
    return max(counts, key=lambda count: sum(count[name] for name in KERNELS), default=collections.Counter())


def _only_notes(line: str) -> bool:
    """Whether an operation is a note to the compiler, or another view of an array."""
    return any(f'custom_call_target="{name}"' in line for name in NOTHING_TO_RUN)


def table(rows: list[dict]) -> str:
    """The rows as Markdown: a family a line, and for each number of lanes what a step is and takes."""
    lanes = sorted({row["lanes"] for row in rows})
    known = {(row["family"], row["lanes"]): row for row in rows}
    head = [f"kernels at {n:,}" for n in lanes] + [f"us a lane's step at {n:,}" for n in lanes]
    lines = ["| family | " + " | ".join(head) + " | temporary MB |", "|---" * (len(head) + 2) + "|"]
    for family in (name for name in FAMILIES if any((name, n) in known for n in lanes)):
        own = [known.get((family, n)) for n in lanes]
        kernels = [str(row["kernels"]) + "*" * bool(row["grouped_convolutions"]) if row else "" for row in own]
        times = [f"{_lane_microseconds(row):.2g}" if row else "" for row in own]
        memory = f"{[row for row in own if row][-1]['temporary_mb']:.0f}"
        lines.append(f"| {family} | {' | '.join(kernels)} | {' | '.join(times)} | {memory} |")
    return "\n".join(lines)


def _lane_microseconds(row: dict) -> float:
    """By the roofline; of what the plan predicts where XLA does not tell."""
    told = row["microseconds"] == row["microseconds"]
    return (row["microseconds"] if told else row["planned_microseconds"]) / row["lanes"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--on", default="v5e", choices=sorted(ACCELERATORS))
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--lanes", default="1,64,1024,8192")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--table", nargs="+", help="print a table of such files instead")
    given = parser.parse_args()
    if given.table:
        print(table([row for file in given.table for row in json.loads(Path(file).read_text())]))
        return
    accelerator, device = ACCELERATORS[given.on], device_of(given.on)
    print(
        f"{accelerator.name}, jax {jax.__version__}; compiled for, not run; the last two columns are planned from a CPU's program"
    )
    titles = ("lanes", "kernels", "args MB", "temp MB", "Gflop", "MB", "us a step", "us a step", "MB")
    print(f"{'family':20}", *(f"{title:>9}" for title in titles), " ops")
    rows, failed = [], 0
    for family in given.families.split(","):
        for lanes in map(int, given.lanes.split(",")):
            try:
                row = report(family, lanes, device, accelerator)
            except Exception as error:
                failed += 1
                print(
                    f"{family:20} {lanes:5} FAILED {type(error).__name__}: {str(error).splitlines()[0][:120]}",
                    flush=True,
                )
                continue
            rows.append(row)
            ops = " ".join(f"{name}={count}" for name, count in row["ops"].items())
            bad = f" GROUPED={row['grouped_convolutions']}" if row["grouped_convolutions"] else ""
            bad += f" HOST={row['host']}" if row["host"] else ""
            numbers = (
                row["arguments_mb"],
                row["temporary_mb"],
                row["flops"] / 1e9,
                row["bytes"] / 1e6,
                row["microseconds"],
            )
            planned = (row["planned_microseconds"], row["planned_mb"])
            shown = " ".join(f"{number:9.1f}" for number in (*numbers, *planned))
            print(f"{family:20} {lanes:9} {row['kernels']:9} {shown}  {ops}{bad}", flush=True)
    print(f"{len(rows)} programs compiled, {failed} failed")
    if given.json:
        with open(given.json, "w") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
