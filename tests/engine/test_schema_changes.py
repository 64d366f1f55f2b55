"""A stored run under another schema than the one by which its values came into the state."""

from __future__ import annotations

import asyncio
import datetime
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import pytest
from typed_models import AsModel, Percent

from tau import (
    AnswerError,
    ExecutionError,
    GraphChangedError,
    RunExistsError,
    RunWaitingError,
    SchemaError,
    State,
    StateGraph,
    pause_node,
)
from tau.observers import Recorder
from tau.stores.contract import Store


@dataclass
class Fits:
    count: float = 0
    day: str = ""
    note: str = "none"


@dataclass
class Converts:
    count: float = 0
    day: datetime.date | None = None


@dataclass
class Differs:
    count: str = ""
    place: str = ""


@dataclass
class Needs:
    count: int
    day: str
    place: str


class Chain:
    """first, then second, which fails until it is told not to."""

    def __init__(self, store: Store, schema: Any = None, *, fails: bool = False) -> None:
        self.fails = fails
        self.seen: Any = None
        self.graph: StateGraph[Any] = StateGraph("chain", schema=schema, store=store)
        self.graph.add_node("first", lambda state: {"count": state["count"] + 1}, version=1)
        self.graph.add_node("second", self.second, version=1)
        self.graph.sequence("first", "second")

    def second(self, state: State) -> None:
        if self.fails:
            raise OSError("not now")
        self.seen = dict(state)


@pytest.fixture
def plain(store: Store) -> Store:
    """A store with a run that failed, and was made without a schema."""
    with pytest.raises(ExecutionError):
        Chain(store, fails=True).graph.execute({"count": 1, "day": "2024-05-01"}, run_id="r")
    return store


def test_a_run_without_a_schema_goes_on_under_one_that_its_values_fit(plain: Store) -> None:
    recorder = Recorder()
    final = Chain(plain, Fits).graph.resume("r", observer=recorder)
    assert final.typed == Fits(2, "2024-05-01")
    assert dict(final) == {"count": 2, "day": "2024-05-01"}
    told = [event.data["changes"] for event in recorder.events if event.type == "graph.changed"]
    assert told == [["the graph has a schema now"]]


@pytest.mark.parametrize(
    ("schema", "keys"),
    [(Converts, ["day"]), (Differs, ["count", "day"]), (Needs, ["place"])],
)
def test_one_that_they_do_not_fit_is_refused_with_the_keys(plain: Store, schema: Any, keys: list[str]) -> None:
    graph = Chain(plain, schema).graph
    for resume in (lambda: graph.resume("r"), lambda: asyncio.run(graph.aresume("r"))):
        with pytest.raises(GraphChangedError) as raised:
            resume()
        assert [change.split("'")[1] for change in raised.value.changes] == keys
        assert any("on_change='continue'" in way for way in raised.value.ways)
    plan = graph.plan("r")
    assert not plan.can_resume
    assert plan.obstacles == raised.value.changes == plan.blocking
    chain = Chain(plain, schema)
    chain.graph.resume("r", on_change="continue")
    assert chain.seen == {"count": 2, "day": "2024-05-01"}


def test_an_edited_field_is_looked_at_and_others_are_not(store: Store) -> None:
    class Edited(Percent):
        total: float = 0  # type: ignore[assignment]

    with pytest.raises(ExecutionError):
        _percent(store, Percent, fails=True).execute({"share": 50, "total": 7}, run_id="r")
    graph = _percent(store, Edited, fails=False)
    assert graph.plan("r").notes == ("the field 'total' of the schema changed",)
    assert dict(graph.resume("r")) == {"share": 0.5, "total": 7}


def test_an_edited_validator_is_an_edited_field(store: Store) -> None:
    class Edited(pydantic.BaseModel):
        share: float = 0.0
        total: int = 100

        @pydantic.field_validator("share")
        @classmethod
        def of_a_hundred(cls, value: float) -> float:
            return value / 1000

    with pytest.raises(ExecutionError):
        _percent(store, Percent, fails=True).execute({"share": 50}, run_id="r")
    with pytest.raises(GraphChangedError, match="'share': float is stored, of which the schema makes float"):
        _percent(store, Edited, fails=False).resume("r")


def _percent(store: Store, schema: Any, *, fails: bool) -> StateGraph[Any]:
    def only(state: State) -> None:
        if fails:
            raise OSError("not now")

    graph: StateGraph[Any] = StateGraph("percent", schema=schema, store=store)
    graph.add_node("first", lambda state: None, version=1)
    graph.add_node("only", only, version=1)
    graph.sequence("first", "only")
    return graph


def test_a_finished_run_is_judged_as_any_other(store: Store) -> None:
    Chain(store).graph.execute({"count": 1, "day": "2024-05-01"}, run_id="r")
    assert Chain(store, Fits).graph.resume("r").typed.count == 2
    with pytest.raises(GraphChangedError):
        Chain(store, Converts).graph.resume("r")
    assert Chain(store).graph.resume("r")["count"] == 2


def test_a_state_that_was_saved_by_hand_is_looked_at(store: Store) -> None:
    with pytest.raises(ExecutionError) as raised:
        Chain(store, Fits, fails=True).graph.execute({"count": 1}, run_id="r")
    raised.value.state.set("day", 5).checkpoint(store)
    with pytest.raises(GraphChangedError, match="'day'"):
        Chain(store, Fits).graph.resume("r")
    State({"day": 5}, run_id="new").checkpoint(store)
    with pytest.raises(GraphChangedError, match="'day'"):
        Chain(store, Fits).graph.resume("new")


def test_the_same_input_resumes_a_run_that_was_made_without_a_schema(plain: Store) -> None:
    given = {"count": 1, "day": "2024-05-01"}
    graph = Chain(plain, Fits).graph
    with pytest.raises(RunExistsError, match="another input"):
        graph.execute({**given, "count": 3}, run_id="r", if_exists="resume")
    assert graph.execute(given, run_id="r", if_exists="resume").typed.count == 2


class TestAnswers:
    def graph(self, store: Store, schema: Any) -> StateGraph[Any]:
        made: StateGraph[Any] = StateGraph("asks", schema=schema, store=store)
        made.add_node("note", pause_node("note"))
        made.add_node("after", lambda state: None, version=1)
        made.sequence("note", "after")
        return made

    def test_changes_that_come_with_an_answer_are_validated(self, store: Store) -> None:
        graph = self.graph(store, AsModel)
        with pytest.raises(RunWaitingError):
            graph.execute({"count": 1}, run_id="r")
        with pytest.raises(SchemaError, match="the changes of the answer do not fit") as raised:
            graph.answer("r", "note", "ok", changes={"count": "many", "wrods": 1})
        assert raised.value.keys == ("count", "wrods")
        graph.answer("r", "note", "ok", changes={"level": 3})
        final = graph.resume("r")
        assert (final.typed.note, final["level"], type(final["level"])) == ("ok", 3.0, float)

    def test_changes_that_were_made_without_the_schema_are_looked_at(self, store: Store) -> None:
        graph = self.graph(store, AsModel)
        with pytest.raises(RunWaitingError):
            graph.execute({"count": 1}, run_id="r")
        self.graph(store, None).answer("r", "note", "ok", changes={"count": "many"})
        with pytest.raises(GraphChangedError, match="'count'"):
            graph.resume("r")

    def test_changes_that_validation_made_are_not_validated_twice(self, store: Store) -> None:
        class Asked(Percent):
            note: str = ""

        graph = self.graph(store, Asked)
        with pytest.raises(RunWaitingError):
            graph.execute({}, run_id="r")
        graph.answer("r", "note", "ok", changes={"share": 50})
        assert graph.resume("r").typed.share == 0.5

    def test_an_answer_that_does_not_fit_the_schema_is_refused(self, store: Store) -> None:
        graph = self.graph(store, AsModel)
        with pytest.raises(RunWaitingError):
            graph.execute({"count": 1}, run_id="r")
        with pytest.raises(AnswerError, match="by the schema AsModel: 'note'"):
            graph.resume("r", answers={"note": 5})
        assert graph.resume("r", answers={"note": "5"})["note"] == "5"


def test_the_fingerprint_of_a_schema_is_the_same_in_every_process() -> None:
    program = (
        "import tau, typed_models as m\n"
        "print([tau.StateGraph('g', schema=c).fingerprint().schema for c in (*m.CLASSES, m.Percent)])"
    )
    texts = set()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        texts.add(done.stdout)
    assert len(texts) == 1
    assert "'count': '" in texts.pop()
