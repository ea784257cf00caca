"""Every schedule with a description and typical arguments: what the command line lists and the gallery draws."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A schedule's name, what it does in a few words, and arguments that show it over 1,000 steps."""

    name: str
    words: str
    example: Mapping[str, str | float | list[int] | list[float]]


CATALOGUE = (
    Entry("constant", "the same value at every step", {"value": 0.1}),
    Entry("step_decay", "times factor every interval steps", {"init_value": 0.1, "interval": 250, "factor": 0.5}),
    Entry(
        "multi_step",
        "times factor at each boundary",
        {"init_value": 0.1, "boundaries": [300, 600, 850], "factor": 0.3},
    ),
    Entry(
        "piecewise_constant",
        "times scales[i] from boundaries[i] on",
        {"init_value": 0.05, "boundaries": [200, 700], "scales": [2.0, 0.2]},
    ),
    Entry(
        "piecewise_interpolate",
        "through the values of piecewise_constant along lines or half cosines",
        {"interpolate_type": "cosine", "init_value": 0.05, "boundaries": [300, 900], "scales": [2.0, 0.1]},
    ),
    Entry("table", "values[i] for the i-th interval", {"values": [0.1, 0.06, 0.08, 0.03, 0.01], "interval": 200}),
    Entry("linear", "a straight line", {"init_value": 0.1, "end_value": 0.0, "transition_steps": 900}),
    Entry(
        "polynomial",
        "a power of the share of steps left",
        {"init_value": 0.1, "end_value": 0.0, "power": 3.0, "transition_steps": 900},
    ),
    Entry(
        "exponential_decay",
        "times decay_rate over each transition_steps, smoothly or by staircase",
        {"init_value": 0.1, "transition_steps": 300, "decay_rate": 0.3},
    ),
    Entry(
        "inverse_time_decay",
        "over one plus decay_rate times elapsed transition_steps",
        {"init_value": 0.1, "transition_steps": 200, "decay_rate": 1.0},
    ),
    Entry("inverse_sqrt", "level for timescale steps, then over the root", {"init_value": 0.1, "timescale": 100}),
    Entry("cosine_decay", "half a cosine down to alpha", {"init_value": 0.1, "decay_steps": 900, "alpha": 0.05}),
    Entry(
        "cosine_restarts",
        "half cosines, each period longer by period_multiplier",
        {"init_value": 0.1, "decay_steps": 140, "period_multiplier": 2.0, "peak_multiplier": 0.8},
    ),
    Entry("rex", "the reflected exponential: slow at first, then steep", {"init_value": 0.1, "transition_steps": 950}),
    Entry("cosine_onecycle", "up and down once along half cosines", {"transition_steps": 950, "peak_value": 0.1}),
    Entry("linear_onecycle", "up, down and out along lines", {"transition_steps": 950, "peak_value": 0.1}),
    Entry(
        "cyclic",
        "up and down along lines, again and again",
        {"init_value": 0.01, "peak_value": 0.1, "step_size_up": 120, "mode": "triangular2"},
    ),
    Entry("warmup_constant", "a line up, then level", {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 200}),
    Entry(
        "warmup_cosine_decay",
        "a line up, then half a cosine down",
        {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 150, "decay_steps": 950},
    ),
    Entry(
        "warmup_exponential_decay",
        "a line up, then exponential decay",
        {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 150, "transition_steps": 300, "decay_rate": 0.3},
    ),
    Entry(
        "warmup_inverse_sqrt",
        "a line up, then over the root",
        {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 150},
    ),
    Entry(
        "warmup_stable_decay",
        "a line up, level, and down: a trapezoid",
        {
            "init_value": 0.0,
            "peak_value": 0.1,
            "warmup_steps": 120,
            "stable_steps": 530,
            "decay_steps": 300,
            "tail": "1-sqrt",
        },
    ),
)
