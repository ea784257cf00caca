"""Spaces, the configs that are their points, and the searches that choose configs."""

from jsweep.space._annotations import lane, static
from jsweep.space._conditions import at_least, at_most, when
from jsweep.space._configs import Configs, configs
from jsweep.space._domains import choice, int_uniform, linspace, log_int, log_uniform, logspace, normal, uniform
from jsweep.space._encode import Named, config_id, decode, encode
from jsweep.space._format import format_config, format_value
from jsweep.space._space import Space

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
    "int_uniform",
    "lane",
    "linspace",
    "log_int",
    "log_uniform",
    "logspace",
    "normal",
    "static",
    "uniform",
    "when",
]
