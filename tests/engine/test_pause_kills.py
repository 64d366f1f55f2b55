"""A process is killed around a pause: before and after it is stored, and between the answer and the resume."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tau import open_store

WORKER = """
import os, signal, sys
from tau import Context, RunWaitingError, StateGraph, TauError, open_store, pause_node
from tau.testing.store_wrappers import StoreWrapper

url, effects, verb, kill = sys.argv[1:5]

def note(text):
    with open(effects, "a") as file:
        file.write(text + "\\n")

class Deadly(StoreWrapper):
    # Kills the process before or after a commit that leaves the run with that status.
    def commit(self, batches):
        when, _, status = kill.partition(" ")
        deadly = any(batch.summary.status == status for batch in batches)
        if deadly and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = self.store.commit(batches)
        if deadly and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return found

def draft(state):
    note("draft")
    return {"text": "hello"}

def fit(state, ctx: Context):
    def work():
        note("step")
        return 42
    found = ctx.step("fit", work)
    try:
        good = ctx.ask("good", form=bool)
    except Exception:
        raise AssertionError("a pause is no Exception")
    return {"fit": found, "good": good}

def publish(state):
    note("publish")
    return {"out": [state["review"], state["fit"], state["good"]]}

graph = StateGraph("g", store=Deadly(open_store(url)))
graph.add_node("draft", draft)
graph.add_node("review", pause_node("review", form=bool))
graph.add_node("fit", fit)
graph.add_node("publish", publish)
graph.sequence("draft", "review", "fit", "publish")
try:
    if verb == "execute":
        print("final", graph.execute({}, run_id="r", if_exists="resume")["out"])
    elif verb == "resume":
        print("final", graph.resume("r")["out"])
    else:
        name, _, value = verb.partition("=")
        graph.answer("r", name, value == "true")
        print("answered")
except RunWaitingError as error:
    print("waits for", *error.pauses)
except TauError as error:
    print(type(error).__name__)
"""


class Place:
    """A store, and real processes that work on its one run; ``kill`` is when they die."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        (folder / "worker.py").write_text(WORKER)

    def act(self, verb: str, kill: str = "") -> str:
        words = [sys.executable, str(self.folder / "worker.py"), self.url, str(self.folder / "effects"), verb, kill]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        if kill:
            assert done.returncode == -signal.SIGKILL, done.stderr
            return "killed"
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def effects(self) -> list[str]:
        return (self.folder / "effects").read_text().split()

    @property
    def status(self) -> str:
        with open_store(self.url) as store:
            return store.runs()[0].status


@pytest.fixture(params=["sqlite", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, f"sqlite:///{tmp_path}/runs.db" if request.param == "sqlite" else f"file://{tmp_path}/runs")


def test_killed_before_a_pause_is_stored_the_run_asks_again(place: Place) -> None:
    place.act("execute", kill="before waiting")
    assert place.status == "dead"
    assert place.act("review=true") == "PauseNotFoundError"
    assert place.act("execute") == "waits for review"
    assert place.effects == ["draft"]


def test_killed_after_a_pause_is_stored_the_run_waits(place: Place) -> None:
    place.act("execute", kill="after waiting")
    assert place.status == "waiting"
    assert place.act("resume") == "waits for review"
    assert place.act("review=true") == "answered"
    assert place.act("resume") == "waits for good"
    assert place.effects == ["draft", "step"]


def test_an_answer_outlives_whoever_gave_it_and_the_step_before_a_question_is_kept(place: Place) -> None:
    place.act("execute")
    place.act("review=true", kill="before interrupted")
    assert place.status == "waiting"
    place.act("review=true", kill="after interrupted")
    assert place.status == "interrupted"
    assert place.act("review=false") == "AnsweredError"
    place.act("resume", kill="before waiting")
    assert place.status == "dead"
    assert place.act("resume") == "waits for good"
    place.act("good=false", kill="after interrupted")
    place.act("resume", kill="before finished")
    assert place.act("resume") == "final [True, 42, False]"
    assert place.effects == ["draft", "step", "publish", "publish"]
