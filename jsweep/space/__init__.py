"""Spaces, the configs that are their points, and the searches that choose configs."""

from jsweep.space._conditions import at_least, at_most, when
from jsweep.space._configs import Configs, configs
from jsweep.space._domains import choice, int_uniform, linspace, log_int, log_uniform, logspace, normal, uniform
from jsweep.space._encode import Named, config_id, decode, encode
from jsweep.space._format import format_config, format_value
from jsweep.space._grid import grid
from jsweep.space._search import latin_hypercube, random, sobol
from jsweep.space._space import Space
from jsweep.space._told import lane, static

__all__ = [
    "Configs",
    "Named",
    "Space",
    "at_least",
    "at_most",
    "choice",
    "config_id",
    "configs",
    "decode",
    "encode",
    "format_config",
    "format_value",
    "grid",
    "int_uniform",
    "lane",
    "latin_hypercube",
    "linspace",
    "log_int",
    "log_uniform",
    "logspace",
    "normal",
    "random",
    "sobol",
    "static",
    "uniform",
    "when",
]
