"""People in the loop: a run waits for an answer, and goes on with it; nothing before it is done again."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import pydantic
import pytest
from engine_steps import config, elsewhere

import tau
from tau import (
    AnsweredError,
    AnswerError,
    CheckpointNotFoundError,
    ConfigError,
    ExecutionError,
    GraphChangedError,
    PauseExpiredError,
    PauseNotFoundError,
    RunCancelledError,
    RunWaitingError,
    State,
    StateGraph,
    UnserializableError,
    pause_node,
)
from tau.host import Host
from tau.log.encoding import unseal
from tau.log.records import Answer, Pause
from tau.observers import Recorder
from tau.stores.contract import Store


@dataclasses.dataclass
class Approval:
    ok: bool
    note: str = ""


class Vote(pydantic.BaseModel):
    score: int = pydantic.Field(ge=1, le=5)
    on: date | None = None


class Point(msgspec.Struct):
    x: float


class Way(enum.Enum):
    LEFT = "left"


class Clock(Host):
    """A machine whose clock is set by the test."""

    def __init__(self) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC).timestamp()

    def now(self) -> float:  # type: ignore[override]
        return self.time


class Review:
    """draft -> review -> publish; notes what ran."""

    def __init__(self, store: Any, **question: Any) -> None:
        self.store = store
        self.question = question
        self.ran: list[str] = []
        self.recorder = Recorder()
        self.clock = Clock()
        self.graph = self.build()

    def build(self, **question: Any) -> StateGraph:
        """A new graph, as another process would have it."""
        graph = StateGraph(config(self.store, observer=self.recorder))
        graph.host = self.clock
        graph.add_node("draft", self._note("draft", {"text": "hello"}))
        graph.add_node("review", pause_node("review", **{**self.question, **question}))
        graph.add_node("publish", self._note("publish", {}))
        graph.sequence("draft", "review", "publish")
        return graph

    def _note(self, name: str, changes: dict[str, Any]) -> Callable[[State], dict[str, Any]]:
        def node(state: State) -> dict[str, Any]:
            self.ran.append(name)
            return changes

        return node

    def wait(self, run_id: str = "r") -> None:
        with pytest.raises(RunWaitingError) as caught:
            self.graph.execute({}, run_id=run_id)
        assert (caught.value.run_id, tuple(caught.value.pauses)) == (run_id, ("review",))

    def records(self, kind: Any, run_id: str = "r") -> list[Any]:
        found = [unseal(run_id, position, data) for position, data in self.store.read(run_id)]
        return [record for record in found if isinstance(record, kind)]


def status(store: Store, run_id: str = "r") -> str:
    summary = store.summary(run_id)
    assert summary is not None
    assert (summary.owner is None) == (summary.status != "running")
    return summary.status


def test_a_run_waits_and_goes_on_with_the_answer_and_nothing_is_done_again(store: Store) -> None:
    review = Review(store, form=Approval, prompt="Shall it go out?")
    review.wait()
    assert status(store) == "waiting"
    with pytest.raises(RunWaitingError, match="run 'r' is waiting for an answer to 'review'; "):
        review.graph.resume("r")
    with elsewhere(store) as fresh:
        other = Review(fresh, form=Approval)
        other.graph.answer("r", "review", {"ok": True})
        assert status(fresh) == "interrupted"
        assert dict(other.graph.resume("r")) == {"text": "hello", "review": {"ok": True, "note": ""}}
        assert (review.ran, other.ran) == (["draft"], ["publish"])
        assert status(fresh) == "finished"


def test_what_waits_is_asked_for_with_all_that_a_person_needs(store: Store) -> None:
    review = Review(
        store, form=Approval, prompt="Shall it go out?", deadline=timedelta(days=1), default=Approval(False)
    )
    assert review.graph.pauses() == []
    review.wait()
    review.clock.time += 5
    review.wait("later")
    first, second = review.graph.pauses()
    assert (first.run_id, second.run_id, first.graph, first.name, first.node) == ("r", "later", "g", "review", "review")
    assert (first.prompt, first.has_default, first.editable, first.refused) == ("Shall it go out?", True, True, "")
    assert first.form is not None
    assert first.deadline == first.asked_at + timedelta(days=1) == datetime(2030, 1, 2, tzinfo=UTC)
    assert review.graph.pauses("later") == [second]
    rows = store.runs(status="waiting")
    assert sorted((row.pauses, row.deadline) for row in rows) == [
        (1, first.deadline.timestamp()), (1, first.deadline.timestamp() + 5)
    ]  # fmt: skip
    review.graph.answer("r", "review", Approval(True))
    assert review.graph.pauses() == [second]
    with pytest.raises(CheckpointNotFoundError):
        review.graph.pauses("none")


@pytest.mark.parametrize(
    ("form", "given", "kept"),
    [
        (None, {"any": (1, {2})}, {"any": (1, {2})}),
        (bool, True, True),
        (Literal["approve", "reject"], "reject", "reject"),
        (list[int], [1, 2], [1, 2]),
        (date, date(2030, 1, 1), date(2030, 1, 1)),
        (date, "2030-01-01", date(2030, 1, 1)),
        (Approval, Approval(True, "fine"), {"ok": True, "note": "fine"}),
        (Approval, {"ok": False}, {"ok": False, "note": ""}),
        (Vote, Vote(score=2, on=date(2030, 1, 1)), {"score": 2, "on": date(2030, 1, 1)}),
        (Vote, {"score": 5}, {"score": 5, "on": None}),
        (Point, Point(1.5), {"x": 1.5}),
        (Way, "left", "left"),
        (list[Approval], [{"ok": True}], [{"ok": True, "note": ""}]),
        (Approval | None, None, None),
    ],
)
def test_an_answer_may_have_any_form_and_lies_in_the_state_as_that(form: Any, given: Any, kept: Any) -> None:
    review = Review(tau.open_store("memory:"), form=form)
    review.store.delete("r")
    review.wait()
    review.graph.answer("r", "review", given)
    found = review.build().resume("r")["review"]
    assert (found, type(found)) == (kept, type(kept))


def test_the_state_holds_an_instance_of_a_class_that_is_registered(store: Store) -> None:
    @tau.register_type(name="tests.Signature", version=1)
    @dataclasses.dataclass
    class Signature:
        who: str

    review = Review(store, form=Signature)
    review.wait()
    assert review.graph.resume("r", answers={"review": {"who": "Ada"}})["review"] == Signature("Ada")


@pytest.mark.parametrize(
    ("form", "given", "said"),
    [
        (bool, 1, "expected boolean, found integer"),
        (Approval, {}, "ok is missing"),
        (Approval, {"ok": "yes"}, "ok: expected boolean, found string"),
        (Approval, {"ok": True, "noet": ""}, "noet is not known; there are ok, note"),
        (Approval, Point(1.5), "ok is missing"),
        (Literal["approve", "reject"], "maybe", "expected one of 'approve', 'reject'"),
        (Vote, {"score": 6}, "score: expected at most 5"),
        (Vote, {"score": 1, "on": "never"}, "on: "),
        (list[int], [1, "2"], r"\[1\]: expected integer, found string"),
        (Approval, object(), "cannot be written as JSON"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_nothing_is_stored(form: Any, given: Any, said: str) -> None:
    review = Review(tau.open_store("memory:"), form=form)
    review.store.delete("r")
    review.wait()
    before = review.store.summary("r")
    with pytest.raises(AnswerError, match=said) as caught:
        review.graph.answer("r", "review", given)
    assert (caught.value.run_id, caught.value.name) == ("r", "review")
    assert caught.value.problems
    assert review.store.summary("r") == before


def test_an_answer_is_recorded_with_who_gave_it_and_when(store: Store) -> None:
    review = Review(store)
    review.wait("r")
    review.wait("q")
    review.clock.time += 60
    review.graph.answer("r", "review", 1, by="ada")
    review.graph.answer("q", "review", 1)
    (first,), (second,) = review.records(Answer), review.records(Answer, "q")
    assert (first.by, first.time) == ("ada", review.clock.time)
    assert second.by == Host().user()
    assert "@" in second.by


def test_of_two_answers_at_once_one_wins_and_the_other_is_told_who(store: Store) -> None:
    review = Review(store)
    review.wait()
    start, told = threading.Barrier(2), list[AnsweredError]()

    def answer(who: str) -> None:
        graph = review.build()
        start.wait(30)
        try:
            graph.answer("r", "review", who, by=who)
        except AnsweredError as error:
            told.append(error)

    threads = [threading.Thread(target=answer, args=(who,)) for who in ("ada", "grace")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (given,), (refused,) = review.records(Answer), told
    assert refused.by == given.by
    assert refused.at == datetime.fromtimestamp(given.time, UTC)
    assert f"was answered by {given.by} at 2030-01-01 00:00:00 UTC" in str(refused)
    assert review.build().resume("r")["review"] == given.by


def test_an_answer_that_nobody_waits_for_says_so(store: Store) -> None:
    review = Review(store)
    with pytest.raises(CheckpointNotFoundError, match="checkpoint not found: r"):
        review.graph.answer("r", "review", 1)
    review.wait()
    with pytest.raises(PauseNotFoundError, match="no pause 'revue' now: it waits for an answer to 'review'") as caught:
        review.graph.answer("r", "revue", 1)
    assert caught.value.waiting == ("review",)
    with pytest.raises(PauseNotFoundError, match="no pause 'revue'"):  # before what is wrong with the answer
        review.graph.answer("r", "revue", object())
    review.graph.resume("r", answers={"review": 1})
    with pytest.raises(PauseNotFoundError, match="it is finished, and waits for nothing"):
        review.graph.answer("r", "review", 1)
    review.wait("q")
    review.graph.cancel("q")
    with pytest.raises(RunCancelledError, match="waits for no answer; start a new run"):
        review.graph.answer("q", "review", 1)
    assert review.graph.pauses() == review.graph.pauses("q") == []


def test_wrong_arguments_of_an_answer_are_refused(store: Store) -> None:
    review = Review(store)
    review.wait()
    for act in (
        lambda: review.graph.answer("r", 3, 1),  # type: ignore[arg-type]
        lambda: review.graph.answer("r", "review", 1, by=""),
        lambda: review.graph.answer("r", "review", 1, changes=[1]),  # type: ignore[arg-type]
        lambda: review.graph.resume("r", answers=[1]),  # type: ignore[arg-type]
        lambda: StateGraph("none").answer("r", "review", 1),
    ):
        with pytest.raises(ConfigError):
            act()
    with pytest.raises(UnserializableError, match="the answer to 'review' of run 'r' cannot be stored"):
        review.graph.answer("r", "review", object())
    assert status(store) == "waiting"


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ({"form": object}, "form must be"),
        ({"form": 3}, "form must be"),
        ({"deadline": datetime(2030, 1, 1)}, "has no time zone"),
        ({"deadline": 0}, "deadline: expected"),
        ({"deadline": True}, "deadline: expected"),
        ({"deadline": timedelta(days=-1)}, "deadline: expected"),
        ({"default": 1}, "give deadline="),
        ({"default": object(), "deadline": 5}, "the default cannot be stored"),
        ({"default": 1, "form": bool, "deadline": 5}, "the default does not fit the form"),
        ({"prompt": 3}, "prompt: expected text"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_when_the_node_is_made(question: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        pause_node("review", **question)
    with pytest.raises(ConfigError):
        pause_node("")


def test_a_run_without_a_store_cannot_wait() -> None:
    graph = StateGraph("g")
    graph.add_node("review", pause_node("review"))
    graph.sequence("review")
    with pytest.raises(ExecutionError, match="has no store in which it could wait"):
        graph.execute({})


def test_a_resume_with_answers_does_both_and_may_be_repeated(store: Store) -> None:
    review = Review(store, form=Approval)
    review.wait()
    review.graph.answer("r", "review", {"ok": True}, by="ada")  # by a process that was killed before it resumed
    with pytest.raises(AnsweredError):
        review.build().resume("r", answers={"review": {"ok": False}})
    assert review.build().resume("r", answers={"review": {"ok": True}})["review"] == {"ok": True, "note": ""}
    review.wait("q")
    assert asyncio.run(review.build().aresume("q", answers={"review": Approval(False)}))["review"]["ok"] is False


def test_a_class_that_refuses_an_answer_later_asks_again_and_says_why(store: Store) -> None:
    review = Review(store, form=Approval)
    review.wait()
    review.graph.answer("r", "review", {"ok": True}, by="ada")

    @dataclasses.dataclass
    class Stricter:
        ok: bool
        signed: str

    stricter = review.build(form=Stricter)
    with pytest.raises(RunWaitingError):
        stricter.resume("r")
    (pause,) = stricter.pauses()
    assert pause.refused == "the answer of ada: note is not known; there are ok, signed; signed is missing" or (
        "signed is missing" in pause.refused and pause.refused.startswith("the answer of ada: ")
    )
    assert stricter.resume("r", answers={"review": {"ok": True, "signed": "ada"}})["review"]["signed"] == "ada"
    assert review.ran == ["draft", "publish"]


def test_a_pause_is_no_attempt_and_no_crash(store: Store) -> None:
    review = Review(store)
    for number in range(15):  # more than max_crashes
        review.wait() if number == 0 else None
        with pytest.raises(RunWaitingError):
            review.graph.resume("r")
    review.graph.resume("r", answers={"review": 1})
    (checkpoint,) = [record for record in review.records(tau.log.records.CheckpointRecord) if record.node == "review"]
    assert checkpoint.attempt == 1
    assert [record.attempt for record in review.records(Pause)] == [0]


def test_every_attempt_that_waits_ends_with_graph_waiting(store: Store) -> None:
    review = Review(store)
    review.wait()
    last = review.recorder.events[-1]
    assert (last.type, last.data["pauses"], last.data["node"], last.data["run_id"]) == (
        "graph.waiting", ["review"], "review", "r",
    )  # fmt: skip
    with pytest.raises(RunWaitingError):
        review.build().resume("r")
    assert review.recorder.events[-1].type == "graph.waiting"


def test_a_plan_tells_what_a_resume_would_do(store: Store) -> None:
    review = Review(store)
    review.wait()
    plan = review.graph.plan("r")
    assert isinstance(plan.refusal, RunWaitingError)
    assert (plan.status, plan.finished, plan.pending) == ("waiting", ("draft",), "review")
    review.graph.answer("r", "review", 1)
    assert review.graph.plan("r").can_resume


def test_checkpoints_that_an_interval_held_back_are_stored_with_the_pause(store: Store) -> None:
    review = Review(store)
    review.graph = StateGraph(config(store, interval=100))
    review.graph.add_node("draft", lambda state: {"text": "hello"})
    review.graph.add_node("review", pause_node("review"))
    review.graph.sequence("draft", "review")
    review.wait()
    assert store.load("r")["text"] == "hello"


def test_what_is_asked_may_change_but_the_name_of_a_question_that_was_answered_counts(store: Store) -> None:
    review = Review(store, deadline=60, default=1)
    review.wait()
    review.graph.answer("r", "review", 1)
    review.build(deadline=90, default=2, prompt="Well?").plan("r").blocking == ()
    other = StateGraph(config(store))
    other.add_node("draft", review.graph.nodes["draft"].function)
    other.add_node("review", pause_node("signature"))
    other.add_node("publish", review.graph.nodes["publish"].function)
    other.sequence("draft", "review", "publish")
    with pytest.raises(RunWaitingError):  # it is the node in flight: it asks what it asks now
        other.resume("r")
    review.wait("q")
    review.graph.resume("q", answers={"review": 1})
    with pytest.raises(GraphChangedError, match="review"):
        other.resume("q")


# Deadlines.


def test_after_the_deadline_the_default_counts_for_whoever_looks_first(store: Store) -> None:
    review = Review(store, form=Approval, deadline=60, default={"ok": False, "note": "nobody answered"})
    for run_id in ("resume", "answer", "pauses", "plan"):
        review.wait(run_id)
    review.clock.time += 60
    assert review.graph.plan("plan").can_resume
    assert review.graph.resume("resume")["review"]["note"] == "nobody answered"
    with pytest.raises(PauseExpiredError, match="by its deadline, 2030-01-01 00:01:00 UTC; its default counts") as late:
        review.graph.answer("answer", "review", Approval(True))
    assert late.value.deadline == datetime(2030, 1, 1, 0, 1, tzinfo=UTC)
    assert review.graph.pauses("pauses") == []
    for run_id in ("answer", "pauses"):
        assert status(store, run_id) == "interrupted"
        assert [record.by for record in review.records(Answer, run_id)] == ["deadline"]
        assert review.graph.resume(run_id)["review"]["ok"] is False


def test_after_a_deadline_without_a_default_the_run_fails_and_a_resume_asks_anew(store: Store) -> None:
    review = Review(store, deadline=60)
    for run_id in ("resume", "answer", "pauses"):
        review.wait(run_id)
    review.clock.time += 60
    with pytest.raises(ExecutionError, match="pause 'review' of run 'resume' was not answered by its deadline") as late:
        review.graph.resume("resume")
    assert isinstance(late.value.__cause__, PauseExpiredError)
    with pytest.raises(PauseExpiredError, match="resume the run, and it asks anew"):
        review.graph.answer("answer", "review", 1)
    review.graph.pauses()
    for run_id in ("resume", "answer", "pauses"):
        assert status(store, run_id) == "failed"
        with pytest.raises(PauseExpiredError):
            review.graph.answer(run_id, "review", 1)
        with pytest.raises(RunWaitingError):
            review.graph.resume(run_id)
        (pause,) = review.graph.pauses(run_id)
        assert pause.deadline == datetime(2030, 1, 1, 0, 2, tzinfo=UTC)
        assert review.graph.resume(run_id, answers={"review": run_id})["review"] == run_id


def test_an_answer_in_time_counts_although_the_resume_comes_later(store: Store) -> None:
    review = Review(store, deadline=60, default="late")
    review.wait()
    review.graph.answer("r", "review", "in time")
    review.clock.time += 1000
    assert review.graph.resume("r")["review"] == "in time"


def test_a_deadline_may_be_a_time(store: Store) -> None:
    when = datetime(2030, 1, 1, 1, tzinfo=UTC)
    review = Review(store, deadline=when)
    review.wait()
    assert review.graph.pauses("r")[0].deadline == when
    review.clock.time = when.timestamp()
    for _ in range(2):  # it stays over
        with pytest.raises(ExecutionError, match="was not answered by its deadline"):
            review.graph.resume("r")
    later = review.build(deadline=when + timedelta(days=1))
    with pytest.raises(RunWaitingError):
        later.resume("r")
    assert later.resume("r", answers={"review": 1})["review"] == 1


# Answers that lead nowhere.


class Routed(Review):
    """draft -> review -> publish or END, as the answer says."""

    def build(self, **question: Any) -> StateGraph:
        graph = StateGraph(config(self.store, observer=self.recorder))
        graph.host = self.clock
        graph.add_node("draft", self._note("draft", {"text": "hello", "review": "draft"}))
        graph.add_node("review", pause_node("review", **{**self.question, **question}))
        graph.add_node("publish", self._note("publish", {}))
        graph.add_edge("draft", "review")
        graph.set_entry_point("draft")
        graph.set_exit_point("publish")
        self.lead(graph)
        return graph

    def lead(self, graph: StateGraph) -> None:
        def decide(state: State) -> Any:
            if state["review"] == "broken":
                raise OSError("no rules")
            return state["review"]

        graph.add_conditional_edges("review", decide, {"approve": "publish", "reject": tau.END})


class Branched(Routed):
    """The same with edges."""

    def lead(self, graph: StateGraph) -> None:
        graph.add_edge("review", "publish", tau.key_equals("review", "approve"))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Routed, "the route decide of node review answered 'aprove'; the answers there are: approve -> publish"),
        (Branched, "no valid transition from node review: none of its conditions holds"),
    ],
)
def test_an_answer_with_which_the_run_cannot_go_on_opens_the_pause_again(
    store: Store, kind: type[Routed], why: str
) -> None:
    review = kind(store, prompt="Shall it go out?", deadline=60)
    review.wait()
    review.graph.answer("r", "review", "aprove")
    review.clock.time += 1
    with pytest.raises(RunWaitingError):
        review.graph.resume("r")
    assert status(store) == "waiting"
    (pause,) = review.graph.pauses("r")
    assert pause.refused.startswith(f"the run cannot go on with it: {why}")
    assert (pause.prompt, pause.editable) == ("Shall it go out?", True)
    assert pause.deadline == datetime(2030, 1, 1, 0, 1, 1, tzinfo=UTC)
    assert store.load("r").checkpoint_node == "draft"
    assert store.load("r")["review"] == "draft"
    with elsewhere(store) as fresh:
        other = kind(fresh)
        assert other.graph.resume("r", answers={"review": "approve"})["review"] == "approve"
        assert [one.node for one in other.graph.history("r")] == ["draft", "review", "publish"]
        assert (review.ran, other.ran) == (["draft"], ["publish"])


def test_a_route_that_is_broken_or_a_default_that_leads_nowhere_fails_the_run(store: Store) -> None:
    review = Routed(store, deadline=60, default="late")
    for run_id, said in (("a", "failed: no rules"), ("b", "answered 'late'")):
        review.wait(run_id)
        if run_id == "a":
            review.graph.answer(run_id, "review", "broken")
        review.clock.time += 60
        for _ in range(2):
            with pytest.raises(ExecutionError, match=said):
                review.graph.resume(run_id)
        assert status(store, run_id) == "failed"


class LaterRouted(Routed):
    """The same with an async route, which is asked when the answer is stored."""

    def lead(self, graph: StateGraph) -> None:
        async def decide(state: State) -> Any:
            return state["review"]

        graph.add_conditional_edges("review", decide, {"approve": "publish", "reject": tau.END})


def test_an_answer_that_an_async_route_does_not_know_can_be_corrected_in_the_state(store: Store) -> None:
    review = LaterRouted(store)
    review.wait()
    with pytest.raises(ExecutionError, match="answered 'aprove'"):
        review.graph.resume("r", answers={"review": "aprove"})
    store.load("r").set("review", "approve").checkpoint(store)
    assert review.graph.resume("r")["review"] == "approve"
    assert review.ran == ["draft", "publish"]


async def test_an_event_loop_answers_too(store: Store) -> None:
    review = Review(store)
    with pytest.raises(RunWaitingError):
        await review.graph.aexecute({}, run_id="r")
    with pytest.raises(PauseNotFoundError):
        await review.graph.aanswer("r", "preview", 1)
    await review.graph.aanswer("r", "review", 1, by="ada", changes={"text": "bye"})
    assert [record.by for record in review.records(Answer)] == ["ada"]
    assert dict(await review.graph.aresume("r")) == {"text": "bye", "review": 1}


# What an answer changes.


def test_an_answer_edits_the_state_in_the_same_record(store: Store) -> None:
    review = Review(store, form=bool)
    review.wait()
    review.graph.answer("r", "review", True, changes={"text": "HELLO" * 1000, "more": {"rows": [1]}})
    with elsewhere(store) as fresh:
        assert fresh.load("r")["text"] == "HELLO" * 1000
        other = Review(fresh, form=bool)
        assert other.graph.resume("r")["more"] == {"rows": [1]}
        assert [record.node for record in other.records(tau.log.records.CheckpointRecord)] == [
            "draft", "review", "publish",
        ]  # fmt: skip
        (answer,) = other.records(Answer)
        assert sorted(answer.changed) == ["more", "text"]


def test_a_change_that_cannot_be_stored_refuses_the_answer(store: Store) -> None:
    review = Review(store)
    review.wait()
    where = "the changes of the answer to 'review'"
    with pytest.raises(UnserializableError, match=rf"state\['text'\] in {where} is of type object"):
        review.graph.answer("r", "review", 1, changes={"text": object()})
    with pytest.raises(UnserializableError, match=f"{where} has the key 1, which cannot be stored"):
        review.graph.answer("r", "review", 1, changes={1: 1})  # type: ignore[dict-item]
    assert status(store) == "waiting"


def test_a_deleted_run_waits_for_nothing(store: Store, tmp_path: Path) -> None:
    review = Review(store)
    review.wait()
    store.delete("r", keep_summary=True)
    assert review.graph.pauses() == []
    summary = store.summary("r")
    assert summary is not None
    assert (summary.pauses, summary.deadline) == (0, None)
