"""Every public name is documented, and every example in a docstring runs and prints what it says."""

import doctest
import importlib
import inspect
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


def public_objects():
    """The functions and classes that users call, by their name: of jsweep, and of its public modules."""
    found = {}
    for name in jsweep.__all__:
        value = getattr(jsweep, name)
        if not inspect.ismodule(value):
            found[name] = value
            continue
        listed = getattr(value, "__all__", [other for other in vars(value) if not other.startswith("_")])
        for other in listed:
            member = getattr(value, other)
            own = value.__name__ in (getattr(member, "__module__", ""), type(member).__module__)
            if callable(member) and (own or hasattr(value, "__all__")):
                found[f"{name}.{other}"] = member
    return found


PUBLIC = public_objects()
METHODS = {
    f"{name}.{attribute}": method
    for name, value in PUBLIC.items()
    if inspect.isclass(value)
    for attribute, method in vars(value).items()
    if not attribute.startswith("_") and inspect.isfunction(method)
}


def arguments(function):
    """The names of a function's arguments, but for ``self``."""
    try:
        return [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
    except ValueError:  # a class without one
        return []


@pytest.mark.parametrize("name", [*PUBLIC, *METHODS])
def test_every_public_name_is_documented(name):
    value = {**PUBLIC, **METHODS}[name]
    doc = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert doc, f"{name} has no docstring"
    assert not doc.startswith(f"{name.rpartition('.')[2]}("), f"{name} has only the docstring that dataclass writes"


@pytest.mark.parametrize("name", [name for name, value in {**PUBLIC, **METHODS}.items() if not inspect.isclass(value)])
def test_functions_of_more_than_two_arguments_describe_each_of_them(name):
    function = {**PUBLIC, **METHODS}[name]
    names = arguments(function)
    if len(names) <= 2:
        return
    sections = re.split(r"^(Args|Returns|Raises|Yields):$", inspect.getdoc(function) or "", flags=re.MULTILINE)
    described = dict(zip(sections[1::2], sections[2::2]))
    assert "Args" in described, f"{name} has no section Args"
    missing = [name for name in names if not re.search(rf"^\s+\*{{0,2}}{name}\b.*:", described["Args"], re.MULTILINE)]
    assert not missing, f"{name} does not describe {missing}"
    returned = inspect.signature(function).return_annotation
    if returned not in (None, "None", inspect.Signature.empty):
        assert {"Returns", "Yields"} & described.keys(), f"{name} has no section Returns"
