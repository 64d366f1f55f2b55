"""Datetimes under freezegun, which puts classes of its own in the place of Python's while it has stopped the clock."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# What freezegun does, in short: subclasses that pass for the real ones, put into the modules that have those.
STANDS_IN = """
import datetime, sys, types

real = {"datetime": datetime.datetime, "date": datetime.date}


def stand_in(name, other):
    passes = type(f"Passes{name}", (type,), {"__instancecheck__": lambda cls, one: isinstance(one, other)})
    return passes(f"Fake{name.title()}", (other,), {"__module__": "freezegun.api"})


fake = {name: stand_in(name, other) for name, other in real.items()}
api = sys.modules["freezegun.api"] = types.ModuleType("freezegun.api")
api.FakeDatetime, api.FakeDate = fake["datetime"], fake["date"]


def put(classes, instead):
    for name, module in list(sys.modules.items()):
        for other in classes if name == "datetime" or name.startswith("tau") else ():
            if vars(module).get(other) is instead[other]:
                setattr(module, other, classes[other])


def values():
    zone = datetime.timezone.utc
    return {
        "at": datetime.datetime(2020, 1, 2, 3, fold=1), "zone": datetime.datetime(2020, 1, 1, tzinfo=zone),
        "day": datetime.date(2020, 1, 1), "many": [datetime.datetime(2020, 1, 1)] * 3,
    }


def kept():
    from tau.values import decode, encode
    given = values()
    data = encode(given)
    found = decode(data)
    assert found == given and list(map(type, found.values())) == list(map(type, given.values())), found
    assert found["at"].fold == 1
    return data
"""


@pytest.mark.parametrize("order", ["frozen real frozen", "real frozen real", "frozen frozen real"])
def test_datetimes_are_stored_while_the_clock_stands_and_after(order: str) -> None:
    steps = {"real": "real_data = kept()\n", "frozen": "put(fake, real)\nfrozen_data = kept()\nput(real, fake)\n"}
    program = STANDS_IN + "".join(steps[step] for step in order.split()) + "print(real_data == frozen_data)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
