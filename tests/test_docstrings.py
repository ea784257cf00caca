"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import jsweep

MODULES = [
    module.name
    for module in pkgutil.walk_packages(jsweep.__path__, "jsweep.")
    if not module.name.endswith("__main__") and not module.name.startswith("jsweep.space")  # test_space runs those
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    public = {public: getattr(jsweep, public) for public in jsweep.__all__}
    assert doctest.testmod(importlib.import_module(name), extraglobs=public).failed == 0


def test_public_names_are_there_and_are_said_to_type_checkers():
    for name in jsweep.__all__:
        assert getattr(jsweep, name) is not None
    source = Path(jsweep.__file__).read_text()
    assert set(re.findall(r" as (\w+)$", source, re.MULTILINE)) == set(jsweep.__all__)
