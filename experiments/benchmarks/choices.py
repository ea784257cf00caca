"""What each choice of the engine is worth: the time of a lane's step without it over the time with it.

    python experiments/benchmarks/choices.py [--families linear,gru,...] [--rounds 5] [--json FILE]
    python experiments/benchmarks/choices.py --table FILE...    # such files, one a version of jax, as docs/design.md has them

Each family has one process, and another for what a process has but once. In it the training programs of all choices take
turns, in rounds of at most 256 steps on all cores at once, as in a sweep, at the width that is fastest there. The columns:

- level 1: XLA's optimization level 1, against its default; beside it how many times longer the default compiles
- layout: the step rewritten for XLA's fast kernels, against the step as it is written
- width: the fastest of 1, 4, 16 and 32 lanes, against 1 lane and against 32
- cores: a worker on every core, against one with XLA's own threads
- YNN: products by YNNPACK, as XLA has it by default, against products without it
- flag: reductions not by YNNPACK (jaxlib 0.10, where they are wrong), against XLA's defaults
- LAPACK: one thread a call, against OpenBLAS's own (families that factorise)
- calls: up to 256 steps a call, against a call for every step: the most that evaluation inside the training program, which is
  not built, could save

Above 1 a choice pays. The rounds come in three parts; of each part the fastest round of each program counts, as others use the
machine, too. Printed are the median of the three ratios, and the lowest and the highest.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from contestants.families import FAMILIES

NAMES = "mlp16,mlp64,mlp512,conv,attention,gru,linear,gaussian_process"
WIDTHS = (1, 4, 16, 32)
COLUMNS = ("level 1", "layout", "width 1", "width 32", "cores", "YNN", "flag", "LAPACK", "calls")
PARTS = 3
IDLE_SECONDS = 0.5  # threads of OpenBLAS turn in circles for a while after their work
Options = dict[str, str | bool]
LEVEL_1: Options = {"xla_backend_optimization_level": "1"}
NO_YNN: Options = {"xla_cpu_experimental_ynn_fusion_type": ""}

Row = dict[str, float]  # by variant, seconds for a lane's step


def make(name: str, setting: str, width: int) -> tuple[Row, Callable[[], Row]]:
    """The seconds of compiling each variant and the width, and one round of them.

    ``setting`` is "usual" or "defaults", the process as XLA and OpenBLAS have it; ``width`` is 0 where it is to be found.
    """
    import jax
    import jax.numpy as jnp

    import jsweep as js

    if setting == "usual":
        js.configure(cache=False)
    device = jax.devices()[0]  # which starts the backend
    from contestants.family_task import sweep

    from jsweep._runtime.lapack import use_one_lapack_thread
    from jsweep.data.splits import train_like
    from jsweep.engine.concurrency import Program, lapack_hangs, uses_lapack
    from jsweep.engine.placement import default_workers
    from jsweep.engine.program import lower_train
    from jsweep.engine.tile_size import timing
    from jsweep.runner.prepare import prepare

    family = FAMILIES[name]()
    prepared = prepare(sweep(family, family.lanes, 1))
    task, group, workers = prepared.setting.task, prepared.groups[0], default_workers()
    train = jax.tree.map(jnp.asarray, train_like(task.data))
    about: Row = {}

    def timed(variant: str, width: int, options: Options, plain: bool = False, **how) -> Callable[[], float]:
        lowered = lower_train(task, group, width, device, len(family.y), plain=plain)
        lapack = uses_lapack(lowered, "cpu")
        about["lapack"] = lapack
        if lapack and setting == "usual":
            use_one_lapack_thread()
        begun = time.perf_counter()
        compiled = lowered.compile(options)
        about[f"compile {variant}"] = time.perf_counter() - begun
        return timing(Program(compiled, lapack and lapack_hangs()), group, width, train, how.pop("on", workers), **how)

    if setting == "defaults":
        found = {"defaults": timed("defaults", width, LEVEL_1)}
        return about, lambda: {each: one() for each, one in found.items()}
    widths = {each: timed(f"{each} lanes", each, LEVEL_1) for each in WIDTHS}
    seconds = {each: min(one() for _ in range(5)) for each, one in widths.items()}
    width = min(seconds, key=seconds.__getitem__)
    about["width"] = width
    found = {
        "chosen": timed("chosen", width, LEVEL_1),
        "level 1": timed("default level", width, {}),
        "layout": timed("as written", width, LEVEL_1, plain=True),
        "width 1": widths[1],
        "width 32": widths[32],
        "cores": timed("one worker", width, LEVEL_1, on=workers[:1]),
        "YNN": timed("no YNN", width, LEVEL_1 | NO_YNN),
        "calls": timed("a call a step", width, LEVEL_1, steps_a_call=1),
    }
    return about, lambda: {each: one() for each, one in found.items()}


def serve(name: str, setting: str, width: int) -> None:
    """Run one round for each line on standard input; answer with a line of JSON."""
    about, one_round = make(name, setting, width)
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        print(json.dumps(one_round()), flush=True)


class Contestant:
    """A process that trains a round when asked."""

    def __init__(self, name: str, setting: str, width: int):
        command = [sys.executable, os.path.abspath(__file__), "--worker", name, setting, str(width)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self.about = self._read()

    def round(self) -> Row:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> Row:
        assert self.process.stdout is not None
        return next((json.loads(line) for line in self.process.stdout if line.startswith("{")), {})


def compared(name: str, rounds: int, flagged: bool) -> tuple[Row, dict[str, list[float]]]:
    """What a family's process says of itself, and each choice's ratios, round by round."""
    usual = Contestant(name, "usual", 0)
    about, others = usual.about, []
    if flagged or about["lapack"]:
        others = [Contestant(name, "defaults", int(about["width"]))]
    ratios: dict[str, list[float]] = {}
    for _ in range(PARTS):
        rows = []
        for _ in range(rounds):
            row = usual.round()
            for other in others:
                row["LAPACK" if about["lapack"] else "flag"] = other.round()["defaults"]
                time.sleep(IDLE_SECONDS)
            rows.append(row)
        fastest = {each: min(row[each] for row in rows) for each in rows[0]}
        for each in fastest.keys() - {"chosen"}:
            ratios.setdefault(each, []).append(fastest[each] / fastest["chosen"])
    for contestant in (usual, *others):
        contestant.close()
    return about, ratios


def table(files: list[str]) -> str:
    """The figures of such files as Markdown, those of one version beside those of the others."""
    found = [json.loads(Path(file).read_text()) for file in files]
    lines = [f"| jax {' / '.join(each['jax'] for each in found)} | compile | " + " | ".join(COLUMNS) + " |"]
    lines.append("|---" * (2 + len(COLUMNS)) + "|")
    for name in dict.fromkeys(row["family"] for each in found for row in each["rows"]):
        rows = [next((row for row in each["rows"] if row["family"] == name), None) for each in found]
        compiling = [row and row["compile default level"] / row["compile chosen"] for row in rows]
        cells = [compiling] + [[row and _middle(row["ratios"].get(column)) for row in rows] for column in COLUMNS]
        shown = (" / ".join(f"{value:.2f}" if value else "-" for value in cell) for cell in cells)
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _middle(ratios: list[float] | None) -> float | None:
    return sorted(ratios)[len(ratios) // 2] if ratios else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=NAMES)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of a part")
    parser.add_argument("--json")
    parser.add_argument("--table", nargs="+", help="print a table of such files instead")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        name, setting, width = given.worker
        serve(name, setting, int(width))
        return
    if given.table:
        print(table(given.table))
        return
    names = given.families.split(",")
    for unknown in set(names) - FAMILIES.keys():
        parser.error(f"{unknown!r} is no family: choose of {', '.join(FAMILIES)}")
    import jax

    from jsweep._runtime.backend import reductions_are_correct

    flagged = not reductions_are_correct()
    print(f"jax {jax.__version__}; time without a choice / with it (lowest-highest)")
    print(f"{'family':<18}{'lanes':>6}{'compile':>8}" + "".join(f"{each:>18}" for each in COLUMNS), flush=True)
    rows = []
    for name in names:
        about, ratios = compared(name, given.rounds, flagged)
        slower = about["compile default level"] / about["compile chosen"]
        cells = ""
        for each in COLUMNS:
            low, middle, high = sorted(ratios.get(each, [0.0] * PARTS))
            cells += f"{middle:6.2f} ({low:.2f}-{high:.2f})".rjust(18) if middle else "-".rjust(18)
        print(f"{name:<18}{int(about['width']):6}{slower:8.2f}{cells}", flush=True)
        rows.append({"family": name, **about, "ratios": ratios})
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"jax": jax.__version__, "rows": rows}, file, indent=2)


if __name__ == "__main__":
    main()
