"""How the tests check signatures at run time: with beartype, where an int passes for a float, as type checkers have it."""

from beartype import BeartypeConf, beartype


class WrongType(UserWarning):
    """A call does not agree with the signature. It is an error but in tests that pass wrong types on purpose."""


check = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=WrongType))
