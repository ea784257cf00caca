"""Spaces, and the configs that are their points.

The modules of this package are private: users import its names from `jsweep`, other packages of jsweep from here.
"""

from jsweep.space._annotations import lane, static
from jsweep.space._conditions import at_least, at_most, when
from jsweep.space._configs import Configs, configs
from jsweep.space._constraints import Constraint, constraint
from jsweep.space._domains import choice, int_uniform, linspace, log_int, log_uniform, logspace, normal, uniform
from jsweep.space._encode import Named, config_id, config_ids, decode, encode, encode_config, json_encoder, json_of
from jsweep.space._format import format_config, format_value
from jsweep.space._kinds import ValueKind
from jsweep.space._space import Space

__all__ = [
    "Configs",
    "Constraint",
    "Named",
    "Space",
    "ValueKind",
    "at_least",
    "at_most",
    "choice",
    "config_id",
    "config_ids",
    "configs",
    "constraint",
    "decode",
    "encode",
    "encode_config",
    "json_encoder",
    "json_of",
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
