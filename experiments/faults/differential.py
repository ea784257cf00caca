"""Draw tasks at random and train each as jsweep decides, with all names static, and by a plain loop; they must agree.

    python experiments/faults/differential.py --tasks 500
    python experiments/faults/differential.py --seed-faults

Tasks that differ are shrunk to the smallest program that still differs, which is printed. Programs of jsweep are run with NumPy;
``--compiled`` compiles them, which takes some ten times as long.
"""

import argparse
import sys
import time
from collections import Counter

from compared import Comparison, compare
from drawn import DrawnTask, tasks
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from seeded_faults import FAULTS

import jsweep as js


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--configs", type=int, default=3, help="configs of a task that are trained, two or more")
    parser.add_argument("--compiled", action="store_true", help="compile jsweep's programs")
    parser.add_argument("--keep-going", action="store_true", help="print all tasks that differ, as they are drawn")
    parser.add_argument("--seed-faults", action="store_true", help="seed faults into the planner, which must be found")
    chosen = parser.parse_args()
    js.configure(cache=False)
    if chosen.seed_faults:
        found = [is_found(name) for name in FAULTS]
        sys.exit(not all(found))
    done: dict[str, Comparison] = {}
    failed: list[DrawnTask] = []
    begun = time.process_time()

    @seed(chosen.seed)
    @settings(
        max_examples=chosen.tasks,
        phases=[Phase.generate] if chosen.keep_going else [Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        deadline=None,
        database=None,
    )
    @given(tasks())
    def check(task: DrawnTask) -> None:
        text = task.source() + str(task.sweep)
        assume(text not in done or done[text].differences)
        if text not in done:
            done[text] = compare(task, chosen.compiled, chosen.configs)
        if done[text].differences:
            failed.append(task)
            if chosen.keep_going:
                print(task, *done[text].differences[:4], "", sep="\n")
            else:
                raise AssertionError(done[text].differences[0])

    try:
        check()
    except AssertionError as error:
        print(failed[-1], error, sep="\n")
    print(summary(list(done.values()), time.process_time() - begun))
    sys.exit(bool(failed))


def is_found(name: str) -> bool:
    """Whether a task differs with a fault, and is right or refused without it."""
    fault, task = FAULTS[name]
    sound = compare(task)
    with fault():
        faulty = compare(task)
    found = bool(not sound.differences and faulty.trials and faulty.differences)
    print("found:" if found else "NOT FOUND:", name, *(sound.differences or faulty.differences)[:1])
    return found


def summary(found: list[Comparison], seconds: float) -> str:
    """What was drawn, and how it came out."""
    total = lambda name: sum(getattr(one, name) for one in found)
    kinds = Counter(kind for one in found for kind in one.roles.values())
    furthest = Counter()
    for one in found:
        for way, distance in one.furthest.items():
            furthest[way] = max(furthest[way], 0.0 if one.differences else distance)
    names = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    lay = ", ".join(f"{way} {distance:.0e}" for way, distance in furthest.items())
    return (
        f"{len(found)} tasks, {total('trials')} trials in {total('groups')} programs ({names}); "
        f"{sum(bool(one.refused) for one in found)} refused, {total('invalid')} configs that no way trains; "
        f"furthest from the plain loop: {lay}; {sum(bool(one.differences) for one in found)} tasks differ; {seconds:.0f} s of CPU"
    )


if __name__ == "__main__":
    main()
