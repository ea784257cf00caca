"""Tasks drawn at random, as programs that a user could have written: how `differential.py` looks for wrong numbers.

A `DrawnTask` is a description. `source` writes it as a program of five functions and a space, and `program` runs that text.
Numbers of the program are written in many ways (``READ_OFTEN`` and ``READ_SELDOM`` in pieces.py): plainly, behind a branch, by
``get``, through a select, in whole numbers, by the type of a value. The same text is what jsweep and a plain loop are given.
"""

import linecache
import re
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from pieces import (
    CONDITIONS,
    HELPERS,
    LAYERS,
    LOSSES,
    OPTIMIZERS,
    PRELUDE,
    READ_OFTEN,
    READ_SELDOM,
    ROW_LAYERS,
    SCHEDULES,
    VALUES,
)

FEATURES, CLASSES, ROWS = 6, 3, 24  # of the data; a third of the rows validates


@dataclass(frozen=True)
class Layer:
    """One line of a model: its kind, its number as code, and the units of a dense layer before it (none: "")."""

    kind: str
    number: str = "0.3"
    units: str = ""


@dataclass(frozen=True)
class DrawnTask:
    """The description of a task and of the sweep that trains it.

    ``layers`` make a model of dense layers; ``padded`` makes a perceptron of jsweep in its place, whose width is a lane on
    request. ``numbers`` stand for N, M, P and Q in ``optimizer`` and for N in ``schedule`` and ``loss``. ``roles`` are the
    names that the space annotates, ``rotate`` turns every list of values. ``names`` stand in the space whether they are
    read or not. ``measured`` is a factor of the parameters that are evaluated.
    """

    layers: tuple[Layer, ...] = (Layer("tanh", units="4"),)
    padded: str = ""
    state: str = ""
    loss: str = LOSSES[0]
    optimizer: str = OPTIMIZERS[0]
    schedule: str = SCHEDULES[0]
    numbers: tuple[str, ...] = ("0.3",) * 5
    names: tuple[str, ...] = ()
    roles: tuple[tuple[str, str], ...] = ()
    rotate: int = 0
    dtype: str = "float32"
    seeds: tuple[int, ...] = (0,)
    steps: int = 4
    every: int = 2
    pairing: str = "common"
    key: int = 0
    width: int = 4
    measured: str = ""

    def __repr__(self) -> str:
        return f"\n{self.source()}\nsweep: {self.sweep}\n"

    @property
    def sweep(self) -> str:
        """How the task is swept, in words."""
        return (
            f"seeds={self.seeds}, steps={self.steps}, evaluate_every={self.every}, key={self.key}, "
            f"pairing={self.pairing!r}, tile={self.width}"
        )

    def source(self) -> str:
        """The task as a program."""
        text = self._functions()
        return f"{PRELUDE.strip()}\n\n\n{text}\n\n\n{self._space(text)}\n"

    def program(self) -> dict[str, Any]:
        """The program's functions and its space, by name."""
        text, file = self.source(), f"<drawn {abs(hash(self))}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        found: dict[str, Any] = {}
        exec(compile(text, file, "exec"), found)
        return found

    def _functions(self) -> str:
        parts = [self._init(), self._apply(), self._loss(), self._optimizer()]
        if self.measured:
            scaled = f'jax.tree.map(lambda a: a * ({self.measured}), state["params"])'
            parts.append(f"def evaluation_params(config, state):\n    return {scaled}")
        own = "\n\n\n".join(parts)
        used = [text for name, text in HELPERS.items() if f"{name}(" in own]
        helpers = ["\n".join(line[8:] for line in text.splitlines()[1:]) for text in used]
        return "\n\n\n".join([*helpers, own])

    def _init(self) -> str:
        if self.padded:
            widths = ", ".join(['config["width"]'] * len(self.padded.split()))
            return f"def init(config, key):\n    return js.models.init_mlp(key, [{FEATURES}, {widths}, {CLASSES}])"
        lines = [
            "def init(config, key):",
            "    draws = jax.random.normal(key, (400,)) / 2",
            "    params, units = {}, 6",
        ]
        for place, layer in enumerate((*self.layers, Layer("", units=str(CLASSES)))):
            if layer.units:
                weights = f"draws[{40 * place} : {40 * place} + units * ({layer.units})].reshape(units, {layer.units})"
                lines.append(f'    params["weight{place}"] = {weights}')
                lines.append(f'    params["bias{place}"] = jnp.zeros({layer.units})')
                lines.append(f"    units = {layer.units}")
            if layer.kind == "convolution":
                lines.append('    params["kernel"] = draws[-6:].reshape(2, 1, 3)')
            if layer.kind == "gather":
                lines.append("    params['v'] = draws[-20:-10]")
            if layer.kind == "options":
                lines.append('    params["mix"] = draws[-60:-24].reshape(6, 6)')
            if layer.kind == "learned":
                lines.append(f'    params["learned"] = {layer.number}')
        if self.dtype != "float32":
            lines.append(f"    params = jax.tree.map(lambda a: jnp.asarray(a, jnp.{self.dtype}), params)")
        start = "params, jnp.zeros((2, 6))" if self.state else "params"
        return "\n".join([*lines, f"    return {start}"])

    def _apply(self) -> str:
        if self.padded:
            widths = ", ".join(['config["width"]'] * len(self.padded.split()))
            activation = self.padded.split()[0]
            return (
                "def apply(config, params, x, key):\n"
                f"    return js.models.apply_mlp(params, x, {activation}, widths=[{widths}])"
            )
        lines = [f"def apply(config, params, {'state, ' if self.state else ''}x, key):", "    h = x"]
        if self.state:
            lines += [
                "    mean, variance = state if key is None else jnp.stack([x.mean(0), x.var(0)])",
                "    h = (x - mean) / jnp.sqrt(variance + 0.1)",
                f"    new = state + ({self.state}) * (jnp.stack([mean, variance]) - state)",
            ]
        if self.dtype != "float32":
            lines.append(f"    h = h.astype(jnp.{self.dtype})")
        for place, layer in enumerate(self.layers):
            if layer.units:
                lines.append(f'    h = h @ params["weight{place}"] + params["bias{place}"]')
            code = (LAYERS | ROW_LAYERS)[layer.kind]
            lines.append("    " + re.sub(r"\bN\b", _literal(layer.number), code).replace("PLACE", str(place)))
        last = len(self.layers)
        outputs = (
            f'(h @ params["weight{last}"].astype(h.dtype) + params["bias{last}"].astype(h.dtype)).astype(jnp.float32)'
        )
        return "\n".join([*lines, f"    return {f'{outputs}, new' if self.state else outputs}"])

    def _loss(self) -> str:
        return f"def loss(config, outputs, y):\n    return {self._with_numbers(self.loss)}"

    def _optimizer(self) -> str:
        rate = self.schedule.replace("RATE", f"({self.numbers[4]})")
        code = re.sub(r"\bR\b", "rate", self.optimizer)
        return f"def optimizer(config):\n    rate = {self._with_numbers(rate)}\n    return {self._with_numbers(code)}"

    def _with_numbers(self, code: str) -> str:
        by_letter = dict(zip("NMPQ", self.numbers))
        return re.sub(r"\b[NMPQ]\b", lambda found: by_letter[found.group()], code)

    def _space(self, text: str) -> str:
        roles = dict(self.roles)
        lines = ["space = {"]
        for name in self._swept(text):
            condition, values = CONDITIONS.get(name, ("", VALUES.get(name, ())))
            turned = [*values[self.rotate % len(values) :], *values[: self.rotate % len(values)]]
            code = f"[{', '.join(turned)}]"
            code = f"js.when({condition}, then={code})" if condition else code
            code = f"js.{roles[name]}({code})" if name in roles else code
            lines.append(f'    "{name}": {code},')
        return "\n".join([*lines, "}"])

    def _swept(self, text: str) -> list[str]:
        """The names of the space: those that the program reads, and some that only the engine or nobody reads."""
        known = [*VALUES, *CONDITIONS]
        read = {name for name in known if f'"{name}"' in text or f"'{name}'" in text} - {"steps", "batch_size"}
        read |= set(self.names)
        read |= {CONDITIONS[name][0].split("=")[0] for name in read if name in CONDITIONS}
        return [name for name in known if name in read]


def _literal(code: str) -> str:
    """``code`` for the replacement of `re.sub`, where a backslash means something else."""
    return code.replace("\\", "\\\\")


numbers = st.one_of(st.sampled_from(READ_OFTEN), st.sampled_from(READ_OFTEN), st.sampled_from(READ_SELDOM))
units = st.sampled_from(["4", "4", "", "", 'config["u0"]', 'config["t0"][1]', '(config["u0"] if config["b0"] else 4)'])


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """A layer of a model; one in four looks at the rows of a batch."""
    kinds = st.one_of(*[st.sampled_from(list(LAYERS))] * 3, st.sampled_from(list(ROW_LAYERS)))
    return Layer(draw(kinds), draw(numbers), draw(units))


@st.composite
def tasks(draw: st.DrawFn) -> DrawnTask:
    """A task; every fifth one has a perceptron with a padded width for a model."""
    pick = lambda *options: draw(st.sampled_from(options))
    padded = pick("", "", "", "", "", "", "jnp.tanh", "jax.nn.sigmoid jax.nn.sigmoid")
    first, rest = (Layer("tanh"), []) if padded else (draw(layers()), draw(st.lists(layers(), max_size=2)))
    named = draw(st.lists(st.sampled_from(["batch_size", "l2", "steps", "epochs", "spare", "f0", "b0"]), max_size=2))
    annotated = draw(st.lists(st.sampled_from(["f0", "i0", "b0", "s0", "s1", "batch_size", "l2"]), max_size=1))
    roles = dict.fromkeys(annotated, "static") | ({"width": "lane"} if padded else {})
    pairing = pick("common", "common", "independent")
    return DrawnTask(
        layers=(Layer(first.kind, first.number, first.units or "4"), *rest),
        padded=padded,
        state="" if padded else pick("", "", "", "", "0.3", 'config["f0"]'),
        loss=pick(*LOSSES),
        optimizer=pick(*OPTIMIZERS),
        schedule=pick(*SCHEDULES),
        numbers=tuple(draw(numbers) for _ in range(5)),
        names=tuple(sorted({*named, *(["width"] if padded else [])} - ({"epochs"} if "steps" in named else set()))),
        roles=tuple(sorted(roles.items())),
        rotate=draw(st.integers(0, 2)),
        dtype="float32" if padded else pick(*["float32"] * 7, "bfloat16"),
        seeds=pick((0,), (3,), (0, 4294967295)),
        steps=draw(st.integers(2, 4)),
        every=draw(st.integers(1, 3)),
        pairing=pairing,
        key=draw(st.integers(0, 3)),
        width=pick(4, 4, 1, 3),
        measured="" if padded else pick("", "", "", "", draw(numbers)),
    )
