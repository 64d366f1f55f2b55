"""Where a run comes from is recorded, and a resume with other code, packages or Python says so."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_steps import Steps

import tau
from tau import ExecutionError, open_store
from tau.engine.provenance import differences
from tau.log.encoding import unseal
from tau.log.records import Admitted, Claimed
from tau.stores.contract import Store

PROGRAM = """
import sys
import solver
from tau import StateGraph
from tau.observers import Recorder

recorder = Recorder()
graph = StateGraph("g", store=sys.argv[1], observer=recorder)
graph.add_node("count", lambda state: {"n": state["n"] + 1}, version="1")
graph.add_node("stop", lambda state: 1 / int(sys.argv[2]), version="1")
graph.add_edge("count", "count", lambda state: state["n"] < 200, name="more")
graph.add_edge("count", "stop")
graph.set_entry_point("count")
graph.set_exit_point("stop")
try:
    graph.execute({"n": 0}, run_id="r", if_exists="resume")
except Exception:
    pass
print([dict(event.data) for event in recorder.events if event.type == "provenance.changed"])
"""


class Project:
    """A git repository with a program and a package that it uses, run as a process of its own each time."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        folder.mkdir()
        (folder / "program.py").write_text(PROGRAM)
        self.version("1.0")
        self.git("init", "-q")
        self.commit()

    def version(self, number: str) -> None:
        (self.folder / "solver.py").write_text(f"__version__ = {number!r}\n")

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *words], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")
        return self.git("rev-parse", "HEAD")

    def run(self) -> list[dict[str, Any]]:
        """The data of the events that say what changed since the run was last worked on."""
        command = [sys.executable, "-B", "program.py", self.url, "0"]
        environment = {**os.environ, "PYTHONPATH": str(Path(tau.__path__[0]).parent)}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=True)
        found: list[dict[str, Any]] = ast.literal_eval(done.stdout)
        return found


@pytest.fixture(params=["sqlite", "file"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    url = f"sqlite:///{tmp_path}/runs.db" if request.param == "sqlite" else f"file://{tmp_path}/runs"
    yield Project(tmp_path / "project", url)
    open_store(url).close()


def records(store: Store) -> list[Any]:
    return [unseal("r", position, data) for position, data in store.read("r")]


def test_a_resume_with_other_code_and_packages_is_an_event_and_never_an_error(project: Project) -> None:
    first = project.git("rev-parse", "HEAD")
    assert project.run() == []
    assert project.run() == [], "nothing changed"
    project.version("2.0")
    changed = {"package.solver": ["1.0", "2.0"], "git_dirty": ["no", "yes"]}
    assert project.run() == [{"changes": changed, "run_id": "r"}]
    assert project.run() == [], "the claim of before has it"
    second = project.commit()
    assert project.run() == [{"changes": {"git_revision": [first, second], "git_dirty": ["yes", "no"]}, "run_id": "r"}]


def test_the_log_tells_which_versions_made_which_checkpoint(project: Project) -> None:
    first = project.git("rev-parse", "HEAD")
    project.run()
    project.run()
    project.version("2.0")
    second = project.commit()
    project.run()
    found = records(open_store(project.url))
    told = [(type(one), one.provenance.get("package.solver")) for one in found if isinstance(one, Admitted | Claimed)]
    assert told == [(Admitted, "1.0"), (Claimed, None), (Claimed, None), (Claimed, "2.0")]
    revisions = [one.provenance.get("git_revision") for one in found if isinstance(one, Admitted | Claimed)]
    assert revisions == [first, None, None, second]
    assert found[0].provenance["python"] == sys.version.split()[0]


def test_what_only_one_of_them_tells_is_no_difference() -> None:
    before = {"python": "3.11.2", "package.numpy": "1.26", "host": "a", "pid": "1", "program": "x.py"}
    now = {"python": "3.12.1", "package.scipy": "1.0", "host": "a", "pid": "2", "program": "tau", "git_dirty": "no"}
    assert differences(before, now) == {"python": ["3.11.2", "3.12.1"]}
    assert differences({}, now) == differences(before, {}) == differences(now, now) == {}


def test_in_one_place_nothing_is_recorded_twice(store: Store) -> None:
    steps = Steps(store)
    steps.failing = {"c"}
    with pytest.raises(ExecutionError):
        steps.graph.execute({}, run_id="r")
    steps.failing = set()
    steps.build().resume("r")
    assert "provenance.changed" not in steps.types()
    claims = [one for one in records(store) if isinstance(one, Claimed)]
    assert [one.provenance for one in claims] == [{}, {}]


def test_a_state_saved_by_hand_comes_from_nowhere_until_somebody_claims_it(store: Store) -> None:
    tau.State({"x": 1}, run_id="r").checkpoint(store)
    steps = Steps(store)
    steps.graph.resume("r")
    assert "provenance.changed" not in steps.types()
    (claim,) = (one for one in records(store) if isinstance(one, Claimed))
    assert claim.provenance["python"]
