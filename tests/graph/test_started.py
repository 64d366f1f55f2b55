"""One file has one fingerprint, however it is started; and what is edited in it is noticed, however it is started."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tau
from tau.graph.changes import Comparison, compare
from tau.graph.fingerprint import GraphFingerprint

KERNEL = Path(__file__).parents[1] / "notebooks" / "cells.py"
SOURCE = '''
import argparse, asyncio, functools, operator, os, re, threading
from dataclasses import dataclass, field
from enum import Enum, Flag, StrEnum, auto
from types import SimpleNamespace

import msgspec
from tau import Artifact, Context, Retry, StateGraph, key_equals
from tau.stores.memory import MemoryStore

@dataclass
class Settings:
    rate: float = 0.5
    max_tokens: int = 100
    token: str = field(default_factory=lambda: os.urandom(8).hex())
    layers: list = field(default_factory=lambda: [64, 64])
    lock: object = field(default_factory=threading.Lock)

@dataclass(frozen=True)
class Limits:
    low: float = 0.25
    inner: Settings = field(default_factory=Settings)
    class Inner:
        pass

class Mode(Enum):
    FAST = 1
    QUICK = 1
    SLOW = 2

class Access(Flag):
    READ = auto()
    WRITE = auto()

class Method(StrEnum):
    TREND = "linear"

class Unit:
    name = "ppm"
    def shown(self, value):
        return f"{value} {self.name}"

class Model:
    def __init__(self, size):
        self.size = size
        self.password = os.urandom(8)
        self._cache = os.urandom(8)
    def fit(self, state):
        return {"fit": self.size}
    def __call__(self, state):
        return {"called": self.size}

class Outer:
    class Inner:
        pass

def mean(values):
    return sum(values) / len(values)

def ingest(state, settings=Settings(), unit=Unit, kinds=(Unit, Outer.Inner, Mode.FAST)):
    assert state is not None, "a message"
    return {"raw": settings.rate}

async def clean(state, ctx: Context, *, model=Model(3), limits=Limits(), graph=StateGraph("inner"), kind=StateGraph):
    assert ctx.visit > 0 and [x for x in (1, 2) if x]
    def inner():
        assert True
        return 1
    return {"clean": inner()}

def apply(
    state, how=functools.partial(round, ndigits=2), key=operator.itemgetter("a"), what=re.compile("a+"), by=os.stat,
    method=Method.TREND, access=[Access.READ | Access.WRITE]
):
    return {"apply": 1}

def fit(state, cfg, where=SimpleNamespace(depth=2), given=argparse.Namespace(width=3), store=MemoryStore()):
    """Fits."""
    return {"fit": cfg.rate}

graph = StateGraph("growth")
graph.add_node("ingest", ingest, depends_on=[mean, Unit, mean])
graph.add_node("clean", clean)
graph.add_node("fit", functools.partial(fit, cfg=Settings(0.75)), depends_on=[Model, Model.fit])
graph.add_node("method", Model(4).fit)
graph.add_node("object", Model(5))
graph.add_node("short", lambda state, limits=Limits(0.5): {"short": limits.low})
graph.add_node("apply", apply, depends_on=[lambda x: 1, lambda x: 2])
graph.sequence(*graph.nodes)
graph.add_edge("apply", "fit", functools.partial(lambda cfg, state: False, Settings()), name="again")
graph.add_edge("apply", "clean", key_equals("mode", Mode.FAST))

def test_growth():
    tell()

def tell():
    with open(os.environ["TELL"], "wb") as file:
        file.write(msgspec.json.encode(graph.fingerprint()))
'''
AT_THE_END = "\ntell()\n"


class Folder:
    """A folder with a program in it, and the ways of starting it."""

    def __init__(self, place: Path, source: str = SOURCE) -> None:
        self.place = place
        self.source = source
        (place / "pkg").mkdir(parents=True)
        (place / "pkg" / "__init__.py").touch()
        for path in (place / "growth.py", place / "pkg" / "growth.py"):
            path.write_text(source + AT_THE_END, "utf-8")

    def run(self, *command: str, python: str = sys.executable) -> GraphFingerprint:
        told = self.place / "told"
        told.unlink(missing_ok=True)
        home = str(Path(tau.__path__[0]).parent)
        environment = {**os.environ, "TELL": str(told), "PYTHONPATH": home, "IPYTHONDIR": str(self.place / "ipython")}
        environment.pop("PYTEST_ADDOPTS", None)
        done = subprocess.run(
            [python, *command], cwd=self.place, env=environment, capture_output=True, text=True, timeout=90, check=False
        )
        assert told.exists(), done.stdout + done.stderr
        return msgspec.json.decode(told.read_bytes(), type=GraphFingerprint)

    def notebook(self, *cells: str) -> GraphFingerprint:
        (self.place / "cells.json").write_text(json.dumps(cells))
        return self.run(str(KERNEL), str(self.place / "cells.json"))

    def started(self, way: str) -> GraphFingerprint:
        pytest_ = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
        commands: dict[str, tuple[str, ...]] = {
            "script": ("growth.py",),
            "script, optimised": ("-O", "growth.py"),
            "script of a package": ("pkg/growth.py",),
            "module": ("-m", "growth"),
            "module of a package": ("-m", "pkg.growth"),
            "imported": ("-c", "import growth"),
            "imported from a package": ("-c", "import pkg.growth"),
            "command, by file": ("-m", "tau", "graph", "growth.py:graph"),
            "command, by module": ("-m", "tau", "graph", "pkg.growth:graph"),
            "run by path": ("-c", "import runpy; runpy.run_path('growth.py', run_name='__main__')"),
            "spawned child": ("-c", "import runpy; runpy.run_path('growth.py', run_name='__mp_main__')"),
            "pytest": (*pytest_, "growth.py"),
            "pytest, importlib": (*pytest_, "--import-mode=importlib", "pkg/growth.py"),
        }
        cells = {
            "notebook, run": ("%run growth.py",),
            "notebook, import": ("import sys; sys.path.insert(0, '')", "import growth"),
            "notebook, pasted": (self.source + AT_THE_END,),
        }
        return self.run(*commands[way]) if way in commands else self.notebook(*cells[way])


WAYS = (
    "script", "script, optimised", "script of a package", "module", "module of a package", "imported from a package",
    "command, by file", "command, by module", "run by path", "spawned child", "pytest", "pytest, importlib",
    "notebook, run", "notebook, import", "notebook, pasted",
)  # fmt: skip


def judged(old: GraphFingerprint, new: GraphFingerprint) -> Comparison:
    """Of a run that has been everywhere."""
    taken = [(edge.source, edge.target) for edge in old.edges]
    return compare(current=new, graph_name=old.name, admitted=old, finished=old.nodes, edges_taken=taken)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> GraphFingerprint:
    return Folder(tmp_path_factory.mktemp("imported") / "program").started("imported")


@pytest.mark.parametrize("way", WAYS)
def test_a_file_has_one_fingerprint_however_it_is_started(imported: GraphFingerprint, way: str, tmp_path: Path) -> None:
    found = Folder(tmp_path / "another folder").started(way)
    assert judged(imported, found) == judged(found, imported) == Comparison(notes=[], blocking=[])


def has_what_tau_needs(python: str) -> bool:
    command = [python, "-c", "import msgspec, apsw, click, rich"]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


FOUND = [path for version in ("3.12", "3.13", "3.14") if (path := shutil.which(f"python{version}")) is not None]
OTHERS = [path for path in FOUND if has_what_tau_needs(path)]

if OTHERS:

    @pytest.mark.parametrize("python", OTHERS)
    def test_another_python_gives_the_same_fingerprint_but_for_lambdas(
        imported: GraphFingerprint, python: str, tmp_path: Path
    ) -> None:
        found = Folder(tmp_path / "another folder").run("growth.py", python=python)
        for judgement in (judged(imported, found), judged(found, imported)):
            assert judgement.blocking == []
            assert [note.split("'")[1] for note in judgement.notes] == ["apply", "short"]


# What is edited, and what is said of it.
EDITS: dict[str, tuple[str, str, str]] = {
    "a field of a dataclass in a partial": (
        "cfg=Settings(0.75)",
        "cfg=Settings(0.8)",
        "'fit' changed (cfg.rate, which",
    ),
    "a default of a field": ("rate: float = 0.5", "rate: float = 0.6", "'ingest' changed (settings.rate, which"),
    "a list in a field": ("[64, 64]", "[64, 32]", "'fit' changed (cfg.layers, which"),
    "a field of a dataclass in a frozen one": ("rate: float = 0.5", "rate: float = 0.6", "limits.inner.rate"),
    "a field of a frozen dataclass": ("low: float = 0.25", "low: float = 0.5", "'clean' changed (its code, limits.low"),
    "a field more": ("    layers: list", "    depth: int = 2\n    layers: list", "'fit' changed (cfg.depth, which"),
    "an attribute of an object": ("model=Model(3)", "model=Model(4)", "'clean' changed (model.size, which"),
    "an attribute of a namespace": ("depth=2", "depth=3", "'fit' changed (where.depth, which"),
    "an argument of a command line": ("width=3", "width=4", "'fit' changed (given.width, which"),
    "a frozen dataclass of a lambda": ("Limits(0.5)", "Limits(0.6)", "'short' changed (its code, limits.low"),
    "the code of a lambda": ('{"short": limits.low}', '{"short": 1}', "'short' changed (its code)"),
    "a class": ("kinds=(Unit,", "kinds=(Mode,", "'ingest' changed (its code)"),
    "a class of the same name elsewhere": ("Outer.Inner, Mode", "Limits.Inner, Mode", "'ingest' changed (its code)"),
    "a member of an enumeration": ("Mode.FAST)):", "Mode.SLOW)):", "'ingest' changed (its code)"),
    "the value of a member": ('"linear"', '"theilsen"', "'apply' changed (Method.TREND, which"),
    "the value of a member and of its alias": (
        "FAST = 1\n    QUICK = 1",
        "FAST = 3\n    QUICK = 3",
        "'ingest' changed (Mode.FAST",
    ),
    "the value of a flag": ("WRITE = auto()", "WRITE = 8", "'apply' changed (Access.READ|WRITE, which"),
    "what a condition compares with": ("FAST = 1", 'FAST = "1"', "edge 'apply' -> 'clean' changed"),
    "a number under the name of a token": ("tokens: int = 100", "tokens: int = 200", "'fit' changed (cfg.max_tokens,"),
    "a number more under the name of a token": (
        "    layers: list",
        "    n_tokens: int = 2\n    layers: list",
        "cfg.n_tok",
    ),
    "the class of an object": ("store=MemoryStore()", "store=Retry()", "'fit' changed (its code)"),
    "a class of tau": ("kind=StateGraph", "kind=Artifact", "'clean' changed (its code)"),
    "an assertion": ("is not None, ", "is not state, ", "'ingest' changed (its code)"),
    "a method of a class it depends on": ('{"fit": self.size}', '{"fit": 1}', "'fit' changed (growth.Model"),
    "an attribute of a class it depends on": ('name = "ppm"', 'name = "ppb"', "'ingest' changed (growth.Unit"),
    "a function it depends on": ("/ len(values)", "* len(values)", "'ingest' changed (growth.mean"),
    "one of two lambdas it depends on": ("lambda x: 1", "lambda x: 3", "'apply' changed (growth.<lambda>"),
    "an argument of a partial in C": ("ndigits=2", "ndigits=3", "'apply' changed (its code)"),
    "a function in C": ("partial(round", "partial(pow", "'apply' changed (its code)"),
    "a function in C of the same name": ("by=os.stat", "by=operator.abs", "'apply' changed (its code)"),
    "a getter": ('itemgetter("a")', 'itemgetter("b")', "'apply' changed (its code)"),
    "a pattern": ('"a+"', '"a*"', "'apply' changed (its code)"),
    "what a predicate is given": (
        "state: False, Settings()",
        "state: False, Settings(2)",
        "edge 'apply' -> 'fit' changed",
    ),
}


NO_EDITS = {
    "a member more": ("    SLOW = 2\n", "    SLOW = 2\n    SLOWEST = 3\n"),
    "a flag more": ("WRITE = auto()", "WRITE = auto()\n    DELETE = auto()"),
    "a name more for a member": ("    SLOW = 2\n", "    SLOW = 2\n    CAREFUL = 2\n"),
    "a value that auto() gives": ("READ = auto()", "READ = 1"),
    "members in another order": (
        "    FAST = 1\n    QUICK = 1\n    SLOW = 2\n",
        "    SLOW = 2\n    FAST = 1\n    QUICK = 1\n",
    ),
    "a token": ("os.urandom(8).hex()", "None"),
}


@pytest.mark.parametrize("edit", NO_EDITS)
def test_what_is_no_change_of_what_is_bound_is_not_called_one(
    imported: GraphFingerprint, edit: str, tmp_path: Path
) -> None:
    old, new = NO_EDITS[edit]
    assert old in SOURCE
    assert judged(imported, run_here(tmp_path, SOURCE.replace(old, new))) == Comparison([], [])


@pytest.mark.parametrize("edit", EDITS)
def test_what_is_edited_is_noticed_and_named(imported: GraphFingerprint, edit: str, tmp_path: Path) -> None:
    old, new, told = EDITS[edit]
    assert old in SOURCE
    found = judged(imported, run_here(tmp_path, SOURCE.replace(old, new)))
    assert any(told in sentence for sentence in (*found.blocking, *found.notes)), found


def run_here(folder: Path, source: str) -> GraphFingerprint:
    path = folder / "growth.py"
    path.write_text(source, "utf-8")
    found: dict[str, Any] = runpy.run_path(str(path), run_name="growth")
    fingerprint: GraphFingerprint = found["graph"].fingerprint()
    return fingerprint


def test_what_a_process_keeps_beside_plain_data_does_not_count(imported: GraphFingerprint) -> None:
    """A lock, what begins with an underscore, and what is called like a secret."""
    assert set(imported.nodes["clean"].code.bound) == {
        "limits.inner.layers",
        "limits.inner.rate",
        "limits.low",
        "model.size",
    }
    assert set(imported.nodes["fit"].code.bound) == {"cfg.layers", "cfg.rate", "given.width", "where.depth"}


def test_a_module_that_a_node_depends_on_is_one_however_it_is_started(tmp_path: Path) -> None:
    source = SOURCE.replace("[mean, Unit, mean]", "[sys.modules[__name__]]").replace(
        "import argparse", "import sys, argparse"
    )
    folder = Folder(tmp_path / "program", source)
    script, module = folder.started("script"), folder.started("module of a package")
    assert [*script.nodes["ingest"].depends, *module.nodes["ingest"].depends] == ["__main__", "__main__"]
    assert judged(folder.started("imported"), script) == judged(folder.started("pytest"), module) == Comparison([], [])
