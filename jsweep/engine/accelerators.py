"""Accelerators that a sweep could be run on: their published peaks, and what a program would take there by the roofline.

The roofline (Williams, Waterman and Patterson 2009): a program takes at least its floating-point operations by the device's
peak, and at least the bytes it moves by the memory's bandwidth. The peaks are the vendors': NVIDIA's H100 data sheet (SXM:
3.35 TB/s, 80 GB; 495 TFLOP/s without sparsity in TF32, in which XLA multiplies float32 by default) and H200's (the same
processor with 4.8 TB/s and 141 GB), and Google Cloud's pages on TPU v5e (197 TFLOP/s in bfloat16, 819 GB/s, 16 GB) and v6e
(918 TFLOP/s, 1,640 GB/s, 32 GB), which multiply float32 as bfloat16 by default.
"""

from dataclasses import dataclass

import jax

from jsweep.data.arrays import count_examples
from jsweep.data.splits import train_like
from jsweep.engine.compiling import compile_lowered
from jsweep.engine.concurrency import in_background
from jsweep.engine.program import lower_plain_evaluate, lower_train
from jsweep.planning import Group
from jsweep.task.task import Task

LANES = 32  # of the program that is counted, which is more than the fixed costs and still compiles fast
WINDOW = 256  # examples of that program


@dataclass(frozen=True)
class Accelerator:
    """A device by its data sheet: ``flops`` a second in float32 matrix products, ``bandwidth`` in bytes a second.

    ``padding`` is how many times the bytes of arrays on CPU they may take there: TPUs keep them in tiles of 8 x 128 numbers.
    Both figures hold for every family of `experiments/accelerators.py`.
    """

    name: str
    flops: float
    bandwidth: float
    memory: int
    padding: float

    def seconds(self, flops: float, accessed: float) -> float:
        """The least seconds that so many operations and bytes take."""
        return max(flops / self.flops, accessed / self.bandwidth)


ACCELERATORS = {
    "h100": Accelerator("NVIDIA H100 SXM", 495e12, 3.35e12, 80 * 10**9, 1.5),
    "h200": Accelerator("NVIDIA H200 SXM", 495e12, 4.8e12, 141 * 10**9, 1.5),
    "v5e": Accelerator("TPU v5e", 197e12, 819e9, 16 * 10**9, 4.0),
    "v6e": Accelerator("TPU v6e", 918e12, 1.64e12, 32 * 10**9, 4.0),
}


@dataclass(frozen=True)
class Cost:
    """What one lane's call takes: floating-point operations, bytes moved, and bytes held."""

    flops: float
    accessed: float
    held: float


@dataclass(frozen=True)
class LaneCost:
    """What a lane of a group takes: for one training step, and for one evaluation."""

    step: Cost
    evaluation: Cost


def lane_cost(task: Task, group: Group) -> LaneCost:
    """What a lane of a group costs anywhere, from XLA's analysis of its programs compiled on this machine's CPU.

    They are compiled as the task is written, for `LANES` lanes, which takes a second or two; nothing is run. Bytes are
    those that move between XLA's fusions on CPU: another compiler fuses otherwise.
    """
    cpu, like = jax.devices("cpu")[0], train_like(task.data)
    window = min(
        count_examples(like), WINDOW
    )  # what a step reads of the examples does not depend on how many there are
    train = lower_train(task, group, LANES, cpu, window, plain=True)
    step = in_background(lambda: compile_lowered(train, cpu))
    evaluation = compile_lowered(lower_plain_evaluate(task, group, LANES, cpu), cpu)
    examples = sum(leaf[:1].nbytes for leaf in jax.tree.leaves(like)) * window
    validation = sum(leaf.nbytes for leaf in jax.tree.leaves(task.data.validation))
    return LaneCost(_cost(step.result(), examples), _cost(evaluation, validation))


def counted(program: jax.stages.Compiled) -> tuple[float, float] | None:
    """The operations and bytes of a program, its loop's body counted once; None where XLA does not tell."""
    try:
        cost = program.cost_analysis() or {}
    except (jax.errors.JaxRuntimeError, NotImplementedError):  # of programs for CUDA
        return None
    return (float(cost["flops"]), float(cost["bytes accessed"])) if "bytes accessed" in cost else None


def _cost(program: jax.stages.Compiled, shared: int) -> Cost:
    """A lane's part, without the ``shared`` bytes of examples that all lanes read."""
    flops, accessed = counted(program) or (0.0, 0.0)
    memory = program.memory_analysis()
    held = 0 if memory is None else memory.argument_size_in_bytes + memory.temp_size_in_bytes - shared
    return Cost(flops / LANES, accessed / LANES, max(held, 0) / LANES)
