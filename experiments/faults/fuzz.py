"""Feed bad input to commands, spaces and stores: no traceback, no hang, no change to the store.

    python experiments/faults/fuzz.py --inputs 10000

Commands get random words, numbers and options; spaces get random Python values; stores get flipped bits, missing parts and
hostile values, in the file and in SQLite's log beside it. Each input must end within three seconds in an exit code and a
sentence, or in a js.JsweepError.
"""

import argparse
import contextlib
import io
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import jsweep as js
from jsweep.cli import main as command_line

HOSTILE = [
    "", " ", "\x00", "\x1b[31mred\x1b[0m\x07", "../../etc/passwd", "<script>alert(1)</script>", "'; DROP TABLE trials; --",
    "🙂" * 50, "\u202egnp.exe", "a" * 100_000, "nan", "inf", "-1", "1e999", "9" * 400, "[" * 2000, "{}", "null", "%s%n",
    "--", "-", "NaN", "0x10", "\ud800",
]  # fmt: skip
READING = ["list", "show", "best", "compare", "verify"]
COMMANDS = [*READING, "schedules", "run", "plan", "test", "replay", "resume", "params", "drop", "--help", "nonsense"]
OPTIONS = ["--store", "--metric", "--top", "--json", "--name", "--seeds", "--steps", "--plot", "--sample", "--again"]
NAMES = [
    "intact",
    "validation/loss",
    "train/loss",
    "constant",
    "cosine_decay",
    "init_value=3",
    "decay_steps=x",
    "a=[1,2",
]


class Hang(Exception):
    pass


def alarm(*_):
    raise Hang


def attempt(function):
    """The outcome of an input: "accepted", "refused" or "fault"; and a description of a fault."""
    out, err = io.StringIO(), io.StringIO()
    signal.setitimer(signal.ITIMER_PROF, 3)  # of the processor: other programs may be busy
    signal.alarm(60)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function()
        outcome, why = "accepted", ""
    except SystemExit as stop:
        outcome, why = ("accepted" if stop.code in (0, None) else "refused"), ""
        if stop.code not in (0, None, 1, 2, 130):
            outcome, why = "fault", f"exit code {stop.code}"
    except js.JsweepError as error:
        outcome, why = ("refused", "") if str(error).strip() else ("fault", "an empty sentence")
    except Hang:
        outcome, why = "fault", "hung"
    except BaseException as error:
        outcome, why = "fault", f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    text = out.getvalue() + err.getvalue()
    if "Traceback" in text or "\x1b" in text or "\x00" in text:
        outcome, why = "fault", "a traceback or a control character: " + repr(text[-300:])
    return outcome, why


def word(rng):
    kind = rng.random()
    if kind < 0.4:
        return rng.choice(HOSTILE[:-1])[:5000]
    if kind < 0.8:
        return rng.choice(NAMES)
    return "".join(
        chr(rng.choice([rng.randrange(32, 127), rng.randrange(1, 0x800)])) for _ in range(rng.randrange(1, 12))
    )


def bad_command(rng, store):
    words = [rng.choice(COMMANDS)]
    for _ in range(rng.randrange(4)):
        words.append(word(rng) if rng.random() < 0.6 else rng.choice(OPTIONS))
    if rng.random() < 0.5 and words[0] in READING:
        words += ["--store", str(store)] if words[0] != "verify" else [str(store)]
    if words[0] == "drop" and "--yes" in words:
        words.remove("--yes")
    return lambda: command_line(words), words


def bad_space(rng):
    def value(depth=0):
        kind = rng.randrange(9)
        if kind == 0:
            return rng.choice([float("nan"), float("inf"), -1, 0, 10**30, None, True, 1e-300, b"x", object(), {1, 2}])
        if kind == 1:
            return rng.choice(HOSTILE)[:100]
        if kind in (2, 3) and depth < 3:
            return [value(depth + 1) for _ in range(rng.randrange(4))]
        if kind == 4 and depth < 3:
            return {rng.choice([*HOSTILE[:3], "a", 3, None]): value(depth + 1)}
        makers = {js.uniform: 2, js.log_uniform: 2, js.int_uniform: 2, js.log_int: 2, js.normal: 2, js.linspace: 3}
        maker, count = rng.choice([*makers.items(), (js.logspace, 3)])
        return maker(*(rng.choice([0, 1, -1, 2.5, float("nan"), "x", None, 10**20]) for _ in range(count)))

    def build():
        space = {
            rng.choice([*HOSTILE[:6], "learning_rate", "width", 5, None, ("a",)]): value()
            for _ in range(rng.randrange(4))
        }
        made = rng.choice([js.grid, lambda s: js.random(s, 5, key=0), js.Space, lambda s: js.sobol(s, 4, key=0)])(space)
        return repr(made)

    return build, "space"


def bad_store(rng, intact, folder):
    """A command on a damaged copy of a store, or beside a damaged log; the store itself must not change."""
    path = folder / "damaged.db"
    for old in folder.glob("damaged.db*"):
        old.unlink()
    how = rng.choice(["file", "log", "row"])
    if how == "log":
        shutil.copy(folder / "logged.db", path)
        (folder / "damaged.db-wal").write_bytes(damaged(rng, (folder / "logged.db-wal").read_bytes()))
    else:
        path.write_bytes(damaged(rng, intact.read_bytes()) if how == "file" else intact.read_bytes())
    if how == "row":
        how = damage_row(rng, path)
    words = [rng.choice(READING)]
    words += [str(path)] if words[0] == "verify" else ["--store", str(path)]
    if words[0] == "show" and rng.random() < 0.5:
        words[1:1] = ["intact", rng.choice(["", "a", "0"])]
    if rng.random() < 0.3:
        words.append("--json")
    return lambda: command_line(words), (how, words)


def damaged(rng, content):
    """A file's content with flipped bits, without its end, or with noise in it."""
    content = bytearray(content)
    how = rng.choice(["flip", "cut", "noise"])
    if how == "flip":
        for _ in range(rng.randrange(1, 40)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif how == "cut":
        content = content[: rng.randrange(len(content))]
    elif how == "noise":
        start = rng.randrange(len(content))
        content[start : start + 512] = rng.randbytes(512)
    return bytes(content)


def damage_row(rng, path):
    """Put a hostile value into one column of one table."""
    value = rng.choice([*HOSTILE[:-1], 0, -1, 2**62, 1e308, None, b"\xff\xfe", '{"a": {"a": 1}}', "[]", '"x"'])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        table = rng.choice(
            [
                "sweeps",
                "trials",
                "scores",
                "metrics",
                "environments",
                "programs",
                "owners",
                "checkpoints",
                "tests",
                "meta",
            ]
        )
        column = rng.choice([row[1] for row in db.execute(f"PRAGMA table_info({table})")])
        with contextlib.suppress(sqlite3.Error, UnicodeEncodeError):
            db.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
    return f"{table}.{column} = {value!r}"[:200]


def make_intact(path):
    """A small store, with finished trials, a failed one and an opened test split."""
    from jsweep.storage import TestOpening, open_store
    from jsweep.storage.records import Score, Trial
    from jsweep.storage.standing import Wanted

    names = ["train/loss", "validation/loss"]
    settings = {
        "metrics": names,
        "objective": {"metric": "validation/loss", "mode": "min"},
        "modes": {"loss": "min"},
        "roles": {"a": ["lane", "traces"]},
    }
    trials = [
        Trial(f"{i:016x}", f"{i // 2:016x}", {"learning_rate": 0.1 * i, "activation": "relu"}, i % 2, 20)
        for i in range(12)
    ]
    tested = TestOpening(
        data="d" * 16,
        look="1" * 16,
        sweep="intact",
        config_id="0" * 16,
        config={"a": 1},
        metric="validation/loss",
        mode="min",
        step=20,
        seeds=[0],
    )
    with open_store(path) as store:
        key = store.add_sweep("intact", "task", {}, settings).key
        store.add_trials(key, trials)
        me, alive = "a" * 32, lambda _: True
        store.claim(key, {t.id: Wanted(t.steps) for t in trials}, me, {"jax": "0"}, alive)
        for trial in trials[:-1]:
            for step in (10, 20):
                score = Score(trial.id, step, dict.fromkeys(names, 1.0 / step), None, step == 20)
                store.record_segment(key, "program", 4, [score], owner=me)
        store.record_failure(key, [trials[-1].id], "ValueError: no", "ValueError: no", me)
        look = store.reserve_look(tested, me, False, alive).entry.key
        store.open_look(look, me)
        store.complete_look(look, me, {"test/loss": [1.0]}, [0])


def leave_log(intact, path):
    """A copy of a store of which a part is in SQLite's log, as a killed process leaves it."""
    from jsweep.storage import open_store

    shutil.copy(intact, path.with_name("open.db"))
    with open_store(path.with_name("open.db")) as store:
        store.add_sweep("newer", "task", {}, {"metrics": ["validation/loss"]})
        for suffix in ("", "-wal"):
            shutil.copy(path.with_name(f"open.db{suffix}"), path.with_name(f"{path.name}{suffix}"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    signal.signal(signal.SIGALRM, alarm)
    signal.signal(signal.SIGPROF, alarm)
    counts, faults, begun = Counter(), [], time.monotonic()
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        folder = Path(name)
        intact = folder / "intact.db"
        make_intact(intact)
        leave_log(intact, folder / "logged.db")
        before = folder / "before.db"
        shutil.copy(intact, before)
        for number in range(given.inputs):
            kind = ("command", "space", "store")[number % 3]
            make = {
                "command": lambda: bad_command(rng, intact),
                "space": lambda: bad_space(rng),
                "store": lambda: bad_store(rng, intact, folder),
            }[kind]
            function, shown = make()
            outcome, why = attempt(function)
            counts[f"store ({shown[0]})" if shown[0] in ("file", "log") else kind, outcome] += 1
            if outcome == "fault":
                faults.append(f"{kind} {str(shown)[:300]!r}: {why}")
        changed = intact.read_bytes() != before.read_bytes()
    for fault in faults[:20]:
        print(fault)
    shown = ", ".join(f"{kind} {outcome} {count}" for (kind, outcome), count in sorted(counts.items()))
    print(
        f"{given.inputs} inputs in {time.monotonic() - begun:.0f} s: {shown}; {len(faults)} faults; "
        f"the store {'changed' if changed else 'did not change'}"
    )
    sys.exit(1 if faults or changed else 0)


if __name__ == "__main__":
    main()
