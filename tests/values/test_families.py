"""Kinds are loaded by family, when one of their values is first seen or read."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def run(program: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_plain_data_loads_no_family() -> None:
    families = run(
        "import sys; from tau.values import decode, encode, is_atom\n"
        "assert decode(encode({'a': [1, 'b', (2,)]})) == {'a': [1, 'b', (2,)]}\n"
        "assert not is_atom([]) and is_atom(1)\n"
        "families = ('network', 'times', 'numbers', 'paths', 'collections')\n"
        "print([name for name in families if 'tau.values.types.' + name in sys.modules])"
    )
    assert families == "[]"


@pytest.mark.parametrize(
    ("value", "family"),
    [
        ("ipaddress.ip_address('10.0.0.1')", "network"),
        ("fractions.Fraction(1, 3)", "numbers"),
        ("pathlib.Path('a')", "paths"),
        ("collections.deque([1])", "collections"),
        ("datetime.date(2024, 1, 1)", "times"),
        ("numpy.float64(1.5)", "numpy"),
    ],
)
def test_a_family_is_loaded_at_first_sight_and_at_first_read(value: str, family: str) -> None:
    module = value.partition(".")[0]
    written = run(
        f"import sys, {module}; from tau.values import encode\n"
        f"assert 'tau.values.types.{family}' not in sys.modules\n"
        f"print(encode([{value}]).hex()); assert 'tau.values.types.{family}' in sys.modules"
    )
    read = run(
        f"import sys; from tau.values import decode\n"
        f"value = decode(bytes.fromhex('{written}')); assert 'tau.values.types.{family}' in sys.modules\n"
        f"import {module}; print(value == [{value}])"
    )
    assert read == "True"


def test_an_atom_is_known_before_any_of_its_family_was_stored() -> None:
    assert (
        run("import ipaddress; from tau.values import is_atom; print(is_atom(ipaddress.ip_address('::1')))") == "True"
    )


def test_every_family_in_the_tables_is_a_file_of_its_own_that_can_be_loaded() -> None:
    program = (
        "from importlib import import_module\nimport sys, types\nfrom tau.values import registry\n"
        "sys.modules['freezegun.api'] = types.SimpleNamespace(FakeDate=type('FakeDate', (), {}), FakeDatetime=str)\n"
        "for family, file in registry.FAMILIES.items():\n"
        "    kinds = import_module(file).KINDS\n"
        "    for kind in kinds:\n"
        "        known = registry._FAMILY_OF_TAG[kind.tag]\n"
        "        if known != family: print(kind.tag, known, family)\n"
    )
    assert run(program).splitlines() == ["23 times frozen_times", "25 times frozen_times"]


WITHOUT = """
import sys
from tau import UnsupportedFormatError
from tau.values import decode
sys.modules["{package}"] = None
try:
    decode(bytes.fromhex("{data}"))
except UnsupportedFormatError as error:
    print(error.found, error)
"""


@pytest.mark.parametrize(
    ("value", "package", "remedy"),
    [
        ("numpy.arange(3)", "numpy", "pip install 'tau-orchestrate[science]'"),
        ("pandas.Timestamp('2020')", "pandas", "pip install 'tau-orchestrate[science]'"),
        ("pandas.DataFrame({'a': [1]})", "pyarrow", "pip install 'tau-orchestrate[science]'"),
        ("polars.Series([1])", "polars", "pip install 'tau-orchestrate[polars]'"),
        ("xarray.Dataset()", "xarray", "pip install 'tau-orchestrate[xarray]'"),
        ("cftime.DatetimeNoLeap(2000, 1, 1)", "cftime", "install cftime"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_remedy(value: str, package: str, remedy: str) -> None:
    module = value.partition(".")[0]
    data = run(f"import {module}; from tau.values import encode; print(encode([{value}]).hex())")
    said = run(WITHOUT.format(package=package, data=data))
    assert said.startswith(f"{package} a stored value cannot be read: the package {package} cannot be imported here")
    assert remedy in said


def test_a_table_that_needs_a_missing_package_is_refused_when_it_is_set() -> None:
    said = run(
        "import sys, pandas; sys.modules['pyarrow'] = None\n"
        "from tau.values import Refused, encode\n"
        "try:\n    encode([pandas.DataFrame({'a': [1]})])\n"
        "except Refused as error:\n    print(error)\n"
    )
    assert "the package pyarrow cannot be imported here" in said
    assert "tau-orchestrate[science]" in said
