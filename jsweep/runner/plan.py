"""The plan: what a sweep will compile, hold and take, before anything runs."""

import heapq
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import overload

import jax

from jsweep._runtime.backend import cores
from jsweep._runtime.limits import peak_bytes
from jsweep._runtime.text import clean
from jsweep._runtime.types import Value
from jsweep.data.splits import rounds
from jsweep.engine.executors.programs import AHEAD
from jsweep.engine.input_pipeline import WINDOW_BYTES, device_memory, streams
from jsweep.engine.placement import check_mesh, workers_of
from jsweep.engine.tile import count_stops
from jsweep.engine.tile_size import MEMORY_SHARE, for_few, guess_width, measured_width, why_width, width_of_waves
from jsweep.errors import ConfigError
from jsweep.planning import Group, Role, RoleKind
from jsweep.planning.cost import machine_speed, work_of
from jsweep.runner.judge import make_rows, trained_share
from jsweep.runner.prediction import Prediction, accelerator_named, predict
from jsweep.runner.prepare import Prepared, prepare
from jsweep.runner.scale import Load, Shards, longest_shard, seconds_on, workers_that_pay
from jsweep.runner.searching import expected
from jsweep.runner.sweep import Sweep
from jsweep.space import config_id, format_value
from jsweep.storage import open_store
from jsweep.storage.paths import resolve
from jsweep.storage.standing import ended_at
from jsweep.task.config import check_count

START_SECONDS = 0.3  # from the call to the first compilation
# What XLA uses to compile a program, whole and by the seconds it takes of a core.
COMPILE_BYTES, COMPILE_BYTES_A_SECOND = 20e6, 60e6
PARTS = 3  # of a program, compiled side by side
KEPT_BYTES = 60e6  # of each program when it is compiled
FEW_LANES = 16  # a program with fewer trials than this hardly repays its compiling


@dataclass(frozen=True)
class GroupPlan:
    """One compile group: what it shares, how it runs, and estimates of its bytes and seconds.

    ``in_flight`` lanes train at once, in ``waves``; ``lane_steps`` are the steps of all lanes, empty ones included.
    ``bytes`` are of a tile in flight: the most of its arrays that are alive at once. ``flops`` are of the matrix products
    and convolutions of all its training steps. ``compile_seconds`` are of one core, from an empty compilation cache;
    ``run_seconds`` are of all workers together. ``measured`` tells whether they come from a timing of this program on this
    machine or from its operations. ``why_width`` says where the width of the tiles comes from.
    """

    static: Mapping[str, Value]
    lanes: tuple[str, ...]
    trials: int
    width: int
    tiles: int
    in_flight: int
    waves: int
    lane_steps: int
    bytes: int
    flops: float
    compile_seconds: float
    run_seconds: float
    measured: bool
    why_width: str

    @property
    def label(self) -> str:
        """The values compiled in, or "all" where there are none."""
        return ", ".join(f"{name}={format_value(value)}" for name, value in self.static.items()) or "all"


@dataclass(frozen=True, repr=False)
class Plan:
    """The compile groups that are left of a sweep, the role of every name, and warnings.

    Attributes:
        groups: the compile groups that have trials left.
        roles: each name's role, and why.
        finished: trials that the store has already.
        workers: how many tiles train at once.
        memory: the bytes there are.
        peak_bytes: the most that is held at once, by this process where the workers are CPU cores, by the device elsewhere.
        seconds: from the start to the end, with an empty compilation cache.
        streamed: whether the training examples are sent to the device in windows.
        rule: the sweep's rule, when it decides and how much it leaves to train; "" without one.
        warnings: what wastes time or memory, a sentence each.
    """

    groups: tuple[GroupPlan, ...]
    roles: Mapping[str, Role]
    finished: int
    workers: int
    memory: int
    peak_bytes: int
    seconds: float
    streamed: bool
    rule: str
    warnings: tuple[str, ...]

    @property
    def programs(self) -> int:
        """How many programs (of initialisation, training and evaluation together) will be compiled."""
        return len(self.groups)

    def seconds_on(self, workers: int) -> float:
        """Seconds in so many worker processes of an executor, each of which compiles the programs that it needs."""
        return seconds_on(self._loads, check_count("workers", workers))

    @property
    def workers_that_pay(self) -> int:
        """The most workers, of 1, 2, 4, ..., 1,024, that spend at least half of their time as a single one would."""
        return workers_that_pay(self._loads)

    def in_shards(self, count: int) -> Shards:
        """The longest of so many shards, each on a machine like this one; see `jsweep.run`."""
        return longest_shard(self._loads, check_count("count", count), self.workers)

    @property
    def _loads(self) -> list[Load]:
        def load(group: GroupPlan) -> Load:
            seconds = group.run_seconds * self.workers / group.tiles
            return Load(group.compile_seconds, group.tiles, seconds, group.trials, group.width)

        return [load(group) for group in self.groups]

    def __repr__(self) -> str:
        trials = sum(group.trials for group in self.groups)
        if not self.groups:
            return f"nothing is left to do: all {_count(self.finished, 'trial')} have finished"
        lines = [
            f"{_count(trials, 'trial')} in {_count(self.programs, 'compiled program')}, "
            f"{_count(self.workers, 'worker')}: about {self.seconds:.0f} s and "
            f"{self.peak_bytes / 1e6:.0f} MB at the peak (of {self.memory / 1e9:.0f} GB)"
            f"{f'; {self.finished} finished before' if self.finished else ''}"
        ]
        if self.streamed:
            lines.append("  the training examples stream from the host in windows")
        if self.rule:
            lines.append(f"  rule {self.rule}")
        lines += [f"  {role.name}: {role.kind}, {role.reason}" for role in self.roles.values()]
        for group in self.groups[:20]:
            lines.append(
                f"  [{group.label}] {_count(group.trials, 'trial')} in {_count(group.tiles, 'tile')} of "
                f"{_count(group.width, 'lane')}, {_count(group.in_flight, 'lane')} in flight, {_count(group.waves, 'wave')}; "
                f"{group.bytes / 1e6:.2f} MB a tile, {group.flops:.2g} operations, compiling about "
                f"{group.compile_seconds:.1f} s, training about {group.run_seconds:.1f} s"
                f"{'' if not group.measured else ' (measured here)'}"
            )
        if len(self.groups) > 20:
            lines.append(f"  ... and {len(self.groups) - 20} more programs")
        return "\n".join(lines + [f"  note: {warning}" for warning in self.warnings])


@overload
def plan(sweep: Sweep, *, on: None = None) -> Plan: ...
@overload
def plan(sweep: Sweep, *, on: str) -> Prediction: ...
def plan(sweep: Sweep, *, on: str | None = None) -> Plan | Prediction:
    """What is left of a sweep to do, from abstract tracing and a matrix product timed here; nothing is trained.

    Trials that the sweep's store has finished at the length asked for are left out. For what a search has not proposed yet,
    configs drawn at random from its space are planned.

    Args:
        sweep: the sweep.
        on: an accelerator that need not be at hand, "h100", "h200", "v5e" or "v6e", to predict for in place of this machine: by
            the roofline of its published peaks, from what XLA counts in each group's programs compiled here on CPU.

    Returns:
        The plan for this machine, for which nothing is compiled, or the prediction for an accelerator.

    Raises:
        ConfigError: where something about the sweep cannot be used, or a single lane does not fit the device's memory.
        StoreError: where the store cannot be read.
    """
    check_mesh(sweep.task, sweep.tile, None, None)
    accelerator = None if on is None else accelerator_named(on)
    file = resolve(sweep.store)
    ended: Set[str] = frozenset()
    if file is None or not file.exists():
        prepared = prepare(sweep)
    else:
        with open_store(sweep.store, write=False) as store:
            record = store.sweep(sweep.record_name)
            prepared = prepare(expected(store, sweep, record), record)
            states = {} if record is None else store.states(record.key)
        ended = ended_at(states, prepared.trials)
    if accelerator is not None:
        return predict(prepared, accelerator, _rule_of(prepared)[1], ended)
    return plan_of(prepared, workers_of(prepared.setting.task), ended)


def plan_of(prepared: Prepared, workers: Sequence[jax.Device], finished: Set[str] = frozenset()) -> Plan:
    """The plan of a prepared sweep without its ``finished`` trials; the errors are those of `plan`."""
    mesh = prepared.setting.task.mesh
    memory = device_memory(workers[0]) * (1 if mesh is None or workers[0].platform == "cpu" else mesh.devices.size)
    speed = machine_speed() if workers[0].platform == "cpu" else 1.0
    left = [(group, tuple(t for t in group.trials if t.id not in finished)) for group in prepared.groups]
    made = [_plan_group(prepared, replace(g, trials=trials), workers, speed) for g, trials in left if trials]
    rule, share = _rule_of(prepared)
    made = [(replace(g, run_seconds=share * g.run_seconds), [share * one for one in tiles]) for g, tiles in made]
    groups = tuple(group for group, _ in made)
    for group in groups:
        if group.bytes / group.width > memory:
            raise ConfigError(
                f"one lane of [{group.label}] needs {group.bytes / group.width / 1e9:.1f} GB of state, gradients and "
                f"activations, and the device has {memory / 1e9:.1f} GB: make the model smaller, or shard it yourself."
            )
    return Plan(
        groups=groups,
        roles=prepared.roles,
        finished=sum(trial.id in finished for trial in prepared.trials),
        workers=len(workers),
        memory=memory,
        peak_bytes=_peak_bytes(prepared, groups, workers) if groups else 0,
        seconds=_seconds([(group.compile_seconds, tiles) for group, tiles in made], len(workers)) if groups else 0.0,
        streamed=streams(prepared.setting.task.data, workers[0]),
        rule=rule,
        warnings=tuple(_warnings(prepared, groups, finished)) if groups else (),
    )


def _rule_of(prepared: Prepared) -> tuple[str, float]:
    """What is said of the sweep's rule, and the share of all steps that it leaves to train, as far as that is known."""
    rule, setting = prepared.rule, prepared.setting
    if rule is None or not prepared.groups:
        return "", 1.0
    trials = [trial for group in prepared.groups for trial in group.trials]
    if rule.rungs is None:
        return f"{rule.name}, at every evaluation: how much it leaves to train depends on the scores", 1.0
    share = trained_share(rule, make_rows(trials, setting.evaluate_every, rule.per), setting.root)
    rungs = ", ".join(map(str, rule.rungs(max(trial.steps for trial in trials))))
    return f"{rule.name}, after {rungs} steps: about {share:.1%} of the steps are trained", share


def _plan_group(
    prepared: Prepared, group: Group, workers: Sequence[jax.Device], speed: float
) -> tuple[GroupPlan, list[float]]:
    """The group's plan, and the seconds that one worker takes for each of its tiles."""
    task, platform = prepared.setting.task, workers[0].platform
    wanted = prepared.sweep.tile if task.mesh is None else 1
    step, evaluation = work_of(group.traced.step.jaxpr), work_of(group.traced.evaluate.jaxpr)
    found = measured_width(task, group, workers) if not isinstance(wanted, int) and platform == "cpu" else None
    guessed = _guessed_width(group, workers, max(step.bytes, evaluation.bytes)) if found is None else found[0]
    width = wanted if isinstance(wanted, int) else guessed
    a_step = step.a_lane(width, platform) / speed if found is None else found[1] * len(workers)
    tiles = group.tiles(width)
    seconds = []
    for tile in tiles:  # empty lanes, and trials that end before the longest, cost what a trial does
        stops, longest = count_stops(tile.trials, prepared.setting.evaluate_every), max(t.steps for t in tile.trials)
        seconds.append(width * (longest * a_step + stops * evaluation.a_lane(width, platform) / speed))
    in_flight = min(len(workers), len(tiles)) * width
    return GroupPlan(
        static=group.compiled_in,
        lanes=tuple(group.lanes),
        trials=len(group.trials),
        width=width,
        tiles=len(tiles),
        in_flight=in_flight,
        waves=-(-len(tiles) // min(len(workers), len(tiles))),
        lane_steps=sum(width * max(trial.steps for trial in tile.trials) for tile in tiles),
        bytes=int(width * max(step.bytes, evaluation.bytes)),
        flops=step.flops * sum(trial.steps for trial in group.trials),
        compile_seconds=step.compile_seconds,
        run_seconds=sum(seconds) / len(workers),
        measured=found is not None,
        why_width=why_width(task, group, wanted, width) if platform == "cpu" else "as many lanes as fit the device",
    ), seconds


def _guessed_width(group: Group, workers: Sequence[jax.Device], lane_bytes: float) -> int:
    if workers[0].platform == "cpu":
        return for_few(guess_width(group), group)
    most = int(MEMORY_SHARE * device_memory(workers[0]) / lane_bytes)
    return width_of_waves(len(group.trials), len(workers), max(1, most))


def _seconds(groups: Sequence[tuple[float, Sequence[float]]], workers: int) -> float:
    """When the last tile ends: every core takes parts of programs in order, workers the tiles of groups that are compiled.

    Compilers and workers share the cores, so it is never less than all their work divided by the cores.
    """
    compilers, free = [0.0] * cores(), [0.0] * workers
    for compiling, tiles in groups:
        ready = 0.0
        for _ in range(PARTS):
            ready = max(ready, heapq.heappop(compilers) + compiling / PARTS)
            heapq.heappush(compilers, ready)
        for seconds in tiles:
            heapq.heappush(free, max(heapq.heappop(free), ready) + seconds)
    work = sum(compiling + sum(tiles) for compiling, tiles in groups) / max(cores(), workers)
    return START_SECONDS + max(max(free), work)


def _peak_bytes(prepared: Prepared, groups: Sequence[GroupPlan], workers: Sequence[jax.Device]) -> int:
    """Of a CPU process: what it holds now, what compiling adds, data, and the largest tiles in flight."""
    data = prepared.setting.task.data
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(data.validation))
    if streams(data, workers[0]):
        held += 2 * WINDOW_BYTES * len(workers)
    else:
        held += sum(leaf.nbytes for leaf in jax.tree.leaves(data.train))
    if prepared.rule is not None:  # lanes wait on the host for its decisions
        held += sum(group.lane_bytes * len(group.trials) for group in prepared.groups)
    in_flight = max(group.bytes * min(len(workers), group.tiles) for group in groups)
    if workers[0].platform != "cpu":
        return held + in_flight // len(workers)
    programs = sorted((COMPILE_BYTES + COMPILE_BYTES_A_SECOND * g.compile_seconds for g in groups), reverse=True)
    at_once = max(min(2, cores()), -(-cores() // PARTS))  # each core compiles a part
    kept = programs[at_once : len(workers) + AHEAD]  # a program is dropped when its tiles are done
    compiling = sum(programs[:at_once]) + KEPT_BYTES * len(kept)
    return int(peak_bytes() + compiling + held + in_flight)


def _warnings(prepared: Prepared, groups: Sequence[GroupPlan], finished: Set[str]) -> list[str]:
    found = []
    if rounds(prepared.sweep.task.data):
        found.append(
            "the examples are float64 and train as float32: jax.config.update('jax_enable_x64', True) keeps them"
        )
    if prepared.untraceable:
        first = next(iter(prepared.untraceable.values()))
        found.append(
            f"{_count(len(prepared.untraceable), 'trial')} of {len(prepared.trials)} cannot be trained, as their configs cannot "
            f"be traced: {clean(str(first).splitlines()[0], 300)}"
        )
    length = prepared.roles.get("epochs")
    if length is not None and length.kind != RoleKind.ENGINE:
        found.append(
            "the task reads config['epochs'], which is also how long it is trained, in passes over the training examples: rename "
            "it if it is a number of your own algorithm"
        )
    for name, role in prepared.roles.items():
        values = {config_id({"v": group.static[name]}) for group in groups if name in group.static}
        lanes = sum(group.trials for group in groups) / len(groups)
        if len(values) > 2 and lanes < FEW_LANES:
            found.append(f"{name} makes {len(values)} programs of {_count(round(lanes), 'lane')} ({role.reason})")
    compiling = sum(group.compile_seconds for group in groups)
    running = sum(group.run_seconds for group in groups) * min(cores(), max(group.in_flight for group in groups))
    if len(groups) > 2 and compiling > 2 * running:
        found.append(f"compiling takes {compiling:.0f} s of a core's time and training {running:.0f} s")
    ended = prepared.untraceable.keys() | finished
    trained = sum(trial.steps for trial in prepared.trials if trial.id not in ended)
    idle = 1 - trained / sum(group.lane_steps for group in groups)
    if idle > 0.3:
        found.append(
            f"{idle:.0%} of the lanes' steps train nothing (empty lanes, and trials that end before the longest of "
            "their tile): more trials a program, or a smaller tile=, waste less"
        )
    return found


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
