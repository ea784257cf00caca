"""Compiled programs: a few ahead of the workers, and gone when their tiles are done, so that a sweep's memory is bounded."""

import gc
import itertools
import re
import threading
import weakref
from contextlib import contextmanager

import jax
import pytest
from small import init, make_task, rows_of

import jsweep as js
from jsweep.engine import compiling
from jsweep.engine.compilation_cache import CacheMonitor
from jsweep.engine.compiling import Part, TileCompiler
from jsweep.engine.concurrency import Program
from jsweep.engine.executors import programs as module
from jsweep.engine.executors.programs import AHEAD, Programs, Work
from jsweep.engine.program import TileProgram
from jsweep.planning import Tile
from jsweep.runner.prepare import prepare

TILES = 3  # of each group


def named(name):
    """A program of that name before it is compiled."""

    def function():
        return 0

    function.__name__ = name
    return jax.jit(function).lower()


def name_of(lowered):
    return re.findall(r"@jit_(\w+)", lowered.as_text())[0]


@pytest.fixture
def made(monkeypatch):
    """References to the programs that were compiled, each at once and of no parts."""
    found = []

    def assembled(width, parts):
        program = TileProgram(print, print, print, width)
        found.append(weakref.ref(program))
        return program, "0"

    monkeypatch.setattr(module, "parts_of_tile", lambda *_: [Part(lambda: named("part"), jax.devices()[0])])
    monkeypatch.setattr(compiling, "compile_program", lambda *_: Program(print, digest="0"))
    monkeypatch.setattr(module, "assembled", assembled)
    monkeypatch.setattr(CacheMonitor, "compiled", lambda *_: None)
    gc.collect()
    gc.freeze()  # collections look at what this test makes alone
    yield found
    gc.unfreeze()


@contextmanager
def compilers():
    compiler = TileCompiler(1)
    yield compiler
    compiler.close(wait=True)


def alive(made):
    gc.collect()
    return sum(reference() is not None for reference in made)


@pytest.fixture(scope="module")
def prepared(data):
    return prepare(js.Sweep(make_task(data), [{"learning_rate": 0.1}], steps=2))


def programs_of(prepared, groups, pool):
    group = prepared.groups[0]
    work = [Work(group, (Tile(group.trials, 1),) * TILES)] * groups
    return Programs(prepared.setting, work, jax.devices(), pool, lambda event: None, CacheMonitor(), None)


def test_programs_of_many_groups_are_never_there_all_at_once(made, prepared):
    with compilers() as pool:
        programs = programs_of(prepared, 40, pool)
        most = 0
        for number in range(40):
            for _ in range(TILES):
                programs.get(number, 1, jax.devices()[0], lambda: False)
                most = max(most, alive(made))
                programs.done(number, 1)
    assert len(made) == 40  # each compiled once
    assert most <= 1 + AHEAD
    assert alive(made) == 0


def test_a_program_stays_while_its_group_has_tiles(made, prepared):
    with compilers() as pool:
        programs = programs_of(prepared, 2, pool)
        first, _ = programs.get(0, 1, jax.devices()[0], lambda: False)
        programs.add(0, 1)  # put back, half of a tile that failed
        for _ in range(TILES):
            programs.done(0, 1)
        assert programs.get(0, 1, jax.devices()[0], lambda: False)[0] is first
        programs.done(0, 1)
        del first
        programs.get(1, 1, jax.devices()[0], lambda: False)
    assert alive(made) == 1


def test_nothing_more_is_compiled_for_a_run_that_ends(made, prepared):
    with compilers() as pool:
        programs = programs_of(prepared, 20, pool)
        programs.get(0, 1, jax.devices()[0], lambda: False)
        programs.cancel()
        for _ in range(TILES):
            programs.done(0, 1)
    assert len(made) <= 1 + AHEAD


def test_a_run_leaves_no_program_behind(data, monkeypatch):
    found = []

    def assembled(width, parts, assemble=module.assembled):
        program, fingerprint = assemble(width, parts)
        found.extend(weakref.ref(each) for each in (program, *parts))
        return program, fingerprint

    monkeypatch.setattr(module, "assembled", assembled)
    session = js.sweep(make_task(data), [{"learning_rate": 0.1, "width": width} for width in (4, 8)], steps=2)
    assert len(found) == 2 * 4
    assert alive(found) == 0
    assert len(session.trials()) == 2


def test_groups_that_differ_in_one_function_share_the_others_compiled(data, monkeypatch):
    def scaled(config, key):
        return jax.tree.map(lambda leaf: config["scale"] * leaf, init(config, key))

    def swept(*scales):
        space = {"scale": js.static(list(scales)), "learning_rate": [0.1, 0.3]}
        return js.sweep(make_task(data, init=scaled), js.grid(space), seeds=2, steps=10, tile=4)

    compiled, lowered_tiles, both_lowered = [], itertools.count(1), threading.Event()

    def compile(lowered, device, compile=compiling.compile_program):
        compiled.append(lowered.as_text())
        both_lowered.wait()
        return compile(lowered, device)

    def gather(*arguments, gather=compiling.gather):
        if next(lowered_tiles) == 2:
            both_lowered.set()
        gather(*arguments)

    alone = [swept(0.5), swept(2.0)]
    monkeypatch.setattr(compiling, "compile_program", compile)
    monkeypatch.setattr(compiling, "gather", gather)
    both = swept(0.5, 2.0)
    assert len(both.prepared.groups) == 2
    assert len(compiled) == len(set(compiled)) == 4  # two initialisations, one training step and one evaluation
    assert rows_of(both) == rows_of(alone[0]) | rows_of(alone[1])


def test_the_first_tile_is_compiled_before_those_after_it_and_what_is_cancelled_is_not(monkeypatch):
    begun, go = [], threading.Event()

    def compile(lowered, device):
        begun.append(name_of(lowered))
        go.wait()
        return Program(print, digest=begun[-1])

    def parts(*names):
        return lambda: [Part(lambda name=name: named(name), jax.devices()[0], name) for name in names]

    monkeypatch.setattr(compiling, "compile_program", compile)
    compiler = TileCompiler(1)
    tiles = [compiler.submit(parts(*names), list) for names in ("abc", "ade", "cfg")]
    tiles[2].cancel()
    go.set()
    assert [[part.digest for part in tile.result()] for tile in tiles[:2]] == [list("abc"), list("ade")]
    compiler.close(wait=True)
    assert begun == list("abcde")


def test_an_error_of_one_part_is_that_of_every_tile_that_has_it(monkeypatch):
    def compile(lowered, device):
        if name_of(lowered) == "bad":
            raise ValueError("bad")
        return Program(print)

    monkeypatch.setattr(compiling, "compile_program", compile)
    compiler = TileCompiler(1)
    tiles = [
        compiler.submit(lambda kinds=kinds: [Part(lambda k=k: named(k), jax.devices()[0], k) for k in kinds], len)
        for kinds in (("bad", "a"), ("b", "bad"), ("a", "b"))
    ]
    assert [type(tile.exception()) for tile in tiles] == [ValueError, ValueError, type(None)]
    compiler.close(wait=True)
