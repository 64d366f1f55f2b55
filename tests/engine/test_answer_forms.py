"""An answer comes back as it was given, or is refused while it can still be corrected; it is never another's."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypedDict

import pydantic
import pytest
from engine_steps import config

from tau import (
    AnswerError,
    ConfigError,
    Context,
    ExecutionError,
    RunWaitingError,
    State,
    StateGraph,
    current,
    pause_node,
    process_chain,
)
from tau.stores.contract import Store


class Choice(enum.Enum):
    APPROVE = "approve"
    REJECT = "reject"


class Review(pydantic.BaseModel):
    decision: Choice


class Hidden(pydantic.BaseModel):
    n: int = pydantic.Field(default=7, exclude=True)


class Login(pydantic.BaseModel):
    password: pydantic.SecretStr


class Named(pydantic.BaseModel):
    n: int = pydantic.Field(alias="nn")

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return 2 * self.n


@dataclasses.dataclass
class Fit:
    slope: float | None = None


def asking(store: Store, how: str, form: Any) -> StateGraph:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        found = ctx.ask("q", form=form)
        return {"q": found if isinstance(found, dict) else repr(found)}

    graph = StateGraph(config(store))
    graph.add_node("node", pause_node("q", form=form) if how == "pause_node" else node, version="1")
    graph.sequence("node")
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    return graph


HOWS = pytest.mark.parametrize("how", ["pause_node", "ask"])


@HOWS
@pytest.mark.parametrize("form", [Fit, float | None, dict[str, Any]], ids=["dataclass", "union", "dict"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_does_not_have_is_refused(store: Store, how: str, form: Any, number: float) -> None:
    given = {"dataclass": Fit(number)}.get("dataclass" if form is Fit else "", number)
    graph = asking(store, how, form)
    with pytest.raises(AnswerError, match="cannot be written as JSON"):
        graph.answer("r", "q", {"a": number} if form == dict[str, Any] else given)
    assert [one.name for one in graph.pauses("r")] == ["q"]


@HOWS
@pytest.mark.parametrize(
    ("given", "kept"), [({"decision": "approve"}, "approve"), (Review(decision=Choice.REJECT), "reject")]
)
def test_an_enumeration_in_a_model_is_kept(store: Store, how: str, given: Any, kept: str) -> None:
    graph = asking(store, how, Review)
    graph.answer("r", "q", given)
    found = graph.resume("r")["q"]
    assert kept in str(found)
    assert found == ({"decision": kept} if how == "pause_node" else repr(Review(decision=Choice(kept))))


@HOWS
@pytest.mark.parametrize("given", [Hidden(n=9), Login(password="s3")])  # type: ignore[arg-type]
def test_an_instance_whose_json_lacks_something_is_refused(store: Store, how: str, given: Any) -> None:
    graph = asking(store, how, type(given))
    with pytest.raises(AnswerError, match="secret or an excluded field") as caught:
        graph.answer("r", "q", given)
    assert "s3" not in str(caught.value)


@HOWS
def test_aliases_and_computed_fields_are_no_hindrance(store: Store, how: str) -> None:
    graph = asking(store, how, Named)
    graph.answer("r", "q", Named(nn=3))
    assert "3" in str(graph.resume("r")["q"])


@HOWS
def test_keys_that_are_no_texts_are_those_of_the_form(store: Store, how: str) -> None:
    graph = asking(store, how, dict[int, str])
    graph.answer("r", "q", {1: "one"})
    assert graph.resume("r")["q"] == {1: "one"}


@pytest.mark.parametrize("deadline", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)])
def test_a_deadline_that_cannot_be_stored_is_refused(deadline: datetime) -> None:
    with pytest.raises(ConfigError, match="cannot be stored"):
        pause_node("q", deadline=deadline)


def mapped(ctx: Context, ask: Callable[..., Any]) -> list[Any]:
    return ctx.map("m", ask, ["cache", "database"], workers=1)


def chained(ctx: Context, ask: Callable[..., Any]) -> list[Any]:
    return process_chain(["cache", "database"], [], lambda item, state: [*state, ask(item)], name="m").final


@pytest.mark.parametrize("work", [mapped, chained])
def test_the_answer_to_the_question_of_one_item_is_never_given_to_another(
    store: Store, work: Callable[..., Any]
) -> None:
    def ask(item: str) -> Any:
        return current().ask("ok", prompt=f"delete {item}?")

    graph = StateGraph(config(store))
    graph.add_node("node", lambda state, ctx: {"out": work(ctx, ask)}, version="1")
    graph.sequence("node")
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    graph.answer("r", "ok", "yes, delete the cache")
    for _ in range(3):
        with pytest.raises(ExecutionError, match="name of its own"):
            graph.resume("r")


def test_an_answer_comes_through_beside_an_owner_who_commits_all_the_time(store: Store) -> None:
    begun, answered = threading.Event(), threading.Event()

    def node(state: State, ctx: Context) -> dict[str, Any]:
        def work() -> int:
            ctx.ask("first")
            count = 0
            begun.set()
            while not answered.is_set():
                ctx.step(f"step {count}", int)
                count += 1
            return count

        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(work), pool.submit(ctx.ask, "second")]
        return {"out": [future.result() for future in futures]}

    graph = StateGraph(config(store))
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    graph.answer("r", "first", 1)

    def go_on() -> None:
        with contextlib.suppress(RunWaitingError):
            graph.resume("r")

    owner = threading.Thread(target=go_on, daemon=True)
    owner.start()
    assert begun.wait(60)
    try:
        graph.answer("r", "second", 2)
    finally:
        answered.set()
        owner.join(60)
    assert not owner.is_alive()
    assert graph.resume("r")["out"][1] == 2


class Score(TypedDict, total=False):
    review: int


class Reviewed(TypedDict, total=False):
    review: int
    done: bool


def typed(store: Store, how: str, form: Any = None) -> StateGraph:
    """A question whose answer the schema wants to be a number, which the form does not say."""
    graph = StateGraph(config(store), schema=Reviewed)
    graph.add_node("review", pause_node("review", form=form), version="1")
    if how == "inside":
        inner = StateGraph("inner", schema=Score)
        inner.add_node("review", pause_node("review", form=form), version="1")
        inner.sequence("review")
        graph = StateGraph(config(store), schema=Reviewed)
        graph.add_node("review", inner)

    async def later(state: State) -> Any:
        return {"done": True}

    def end(state: State) -> Any:
        return {"done": True}

    graph.add_node("end", later if how == "async" else end, version="1")
    graph.sequence("review", "end")
    return graph


@pytest.mark.parametrize("how", ["sync", "async", "inside"])
@pytest.mark.parametrize("form", [None, str, int | str])
def test_an_answer_that_the_schema_of_the_state_refuses_is_refused_as_it_is_given(
    store: Store, how: str, form: Any
) -> None:
    graph = typed(store, how, form)
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    with pytest.raises(AnswerError, match=r"by the schema (Reviewed|Score): 'review': Expected `int`, got `str`"):
        graph.answer("r", "review", "much")
    for odd in ("much", object() if form is None else "much"):
        with pytest.raises(AnswerError, match="by the schema"):
            graph.resume("r", answers={"review": odd})
    assert [one.name for one in graph.pauses("r")] == ["review"]
    if form is not str:
        assert graph.resume("r", answers={"review": 3})["review"] == 3


@pytest.mark.parametrize("how", ["sync", "async", "inside"])
async def test_an_answer_given_without_the_graph_that_the_schema_refuses_opens_the_pause_again(
    store: Store, how: str
) -> None:
    graph = typed(store, how)
    with pytest.raises(RunWaitingError):
        await graph.aexecute({}, run_id="r")
    StateGraph(config(store)).answer("r", "review", "much")  # as the command, it knows no schema
    for _ in range(2):
        with pytest.raises(RunWaitingError):
            await graph.aresume("r")
        (pause,) = graph.pauses("r")
        assert pause.refused.startswith("the state cannot hold it: ")
        assert "'review': Expected `int`, got `str`" in pause.refused
    assert store.summary("r") is not None
    final = await graph.aresume("r", answers={"review": 3})
    assert (final["review"], final["done"]) == (3, True)


def test_a_default_that_the_schema_refuses_fails_the_run(store: Store) -> None:
    """It would come again and again."""
    graph = StateGraph(config(store), schema=Score)
    graph.add_node("review", pause_node("review", deadline=1e-6, default="late"), version="1")
    graph.sequence("review")
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    for _ in range(2):
        with pytest.raises(ExecutionError, match="'review': Expected `int`, got `str`"):
            graph.resume("r")


def test_what_an_untyped_graph_inside_sets_and_the_schema_refuses_is_told_with_the_way_on(store: Store) -> None:
    """What sets it may change it before it is handed up, so nothing can be refused earlier."""
    inner = StateGraph("inner")
    inner.add_node("review", pause_node("review"), version="1")
    inner.sequence("review")
    graph = StateGraph(config(store), schema=Score)
    graph.add_node("ask", inner)
    graph.sequence("ask")
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    graph.answer("r", "review", "much")
    with pytest.raises(ExecutionError) as caught:
        graph.resume("r")
    assert "on_change='redo'" in "".join(getattr(caught.value.__cause__, "__notes__", ()))
    with pytest.raises(RunWaitingError):
        graph.resume("r", on_change="redo")
    assert graph.resume("r", answers={"review": 3})["review"] == 3


def test_the_name_of_a_pause_is_a_text(store: Store) -> None:
    graph = typed(store, "sync")
    with pytest.raises(RunWaitingError):
        graph.execute({}, run_id="r")
    for name in (["review"], None, 3):
        with pytest.raises(ConfigError, match="the name of a pause"):
            graph.answer("r", name, 3)  # type: ignore[arg-type]
