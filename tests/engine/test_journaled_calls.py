"""`Context.journal`: what was answered once is not asked again, whatever the order of calls."""

from __future__ import annotations

import asyncio
import functools
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import process_calls
import pytest
from engine_steps import config, elsewhere
from hypothesis import given, settings
from hypothesis import strategies as st

from tau import (
    ConfigError,
    Context,
    ExecutionError,
    Retry,
    State,
    StateGraph,
    UnserializableError,
    branches_node,
    current,
)
from tau.log.encoding import unseal
from tau.log.records import Item
from tau.observers import Recorder
from tau.stores.contract import Store
from tau.stores.memory import MemoryStore


class Client:
    """What is paid for: numbers its answers, and breaks at a number it is told."""

    def __init__(self, breaks: int = -1) -> None:
        self.asked: list[Any] = []
        self.breaks = breaks

    def chat(self, prompt: Any, **options: Any) -> str:
        self.asked.append(prompt)
        if len(self.asked) == self.breaks:
            raise OSError("broke")
        return f"{prompt} {len(self.asked)}"

    async def achat(self, prompt: Any) -> str:
        await asyncio.sleep(0)
        return self.chat(prompt)


class Unreliable:
    """Fails now and then; counts what it has answered."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.answered: Counter[str] = Counter()

    def ask(self, prompt: str) -> str:
        if self.random.random() < 0.3:
            raise OSError
        self.answered[prompt] += 1
        return prompt


def graph_of(store: Any, node: Any, *, recorder: Recorder | None = None, **options: Any) -> StateGraph:
    graph = StateGraph(config(store, observer=recorder) if recorder else config(store)) if store else StateGraph("g")
    graph.add_node("n", node, version="1", **options)
    graph.sequence("n")
    return graph


def items(store: Store, run_id: str = "r") -> list[Item]:
    records = [unseal(run_id, position, data) for position, data in store.read(run_id)]
    return [record for record in records if isinstance(record, Item)]


def fail(graph: StateGraph, verb: str = "execute") -> BaseException:
    with pytest.raises(ExecutionError) as caught:
        graph.execute({}, run_id="r") if verb == "execute" else graph.resume("r")
    assert caught.value.__cause__ is not None
    return caught.value.__cause__


def test_an_answer_is_asked_for_once(store: Store) -> None:
    first, second = Client(breaks=3), Client()

    def node(client: Client) -> Callable[..., Any]:
        return lambda state, ctx: {"out": [ctx.journal("ask", client.chat, f"p{n}", model="m") for n in range(4)]}

    assert isinstance(fail(graph_of(store, node(first))), OSError)
    with elsewhere(store) as fresh:
        final = graph_of(fresh, node(second)).resume("r")
    assert second.asked == ["p2", "p3"]
    assert final["out"] == ["p0 1", "p1 2", "p2 1", "p3 2"]


def test_a_call_is_known_by_its_name_its_arguments_and_a_number(store: Store) -> None:
    client = Client()

    def node(state: State, ctx: Context) -> None:
        for name, prompt in (("a", "p"), ("b", "p"), ("a", "q"), ("a", "p")):
            ctx.journal(name, client.chat, prompt)
        ctx.journal("a", client.chat, prompt="p")

    graph_of(store, node).execute({}, run_id="r")
    found = items(store)
    assert [(one.scope, one.name) for one in found] == [((("n", 1, name),), name) for name in "abaaa"]
    keys = [one.key for one in found]
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] == f"{keys[0]} 2"
    assert keys[4] not in keys[:4]
    assert all(key.startswith("call ") for key in keys)


def test_the_order_of_keywords_does_not_count(store: Store) -> None:
    client = Client()

    def node(state: State, ctx: Context) -> None:
        ctx.journal("a", client.chat, "p", model="m", top=1)
        ctx.journal("a", client.chat, "p", top=1, model="m")

    graph_of(store, node).execute({}, run_id="r")
    first, second = items(store)
    assert second.key == f"{first.key} 2"


def test_a_changed_prompt_is_asked_anew_and_that_is_told(store: Store) -> None:
    client, recorder = Client(), Recorder()

    def node(prompts: list[str], end: bool) -> Callable[..., Any]:
        def work(state: State, ctx: Context) -> dict[str, Any]:
            out = [ctx.journal("ask", client.chat, prompt) for prompt in prompts]
            if end:
                raise OSError
            return {"out": out}

        return work

    fail(graph_of(store, node(["a", "b"], True)))
    final = graph_of(store, node(["a", "B", "C"], False), recorder=recorder).resume("r")
    assert final["out"] == ["a 1", "B 3", "C 4"]
    assert client.asked == ["a", "b", "B", "C"]
    changed = [event.data for event in recorder.events if event.type == "call.changed"]
    assert [(one["call"], one["recorded"], one["node"], one["visit"]) for one in changed] == [("ask", 1, "n", 1)]


def test_more_calls_after_those_that_are_recorded_are_no_change(store: Store) -> None:
    client, recorder = Client(breaks=3), Recorder()

    async def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"out": await asyncio.gather(*(ctx.journal("ask", client.achat, n) for n in range(6)))}

    fail(graph_of(store, node))
    graph_of(store, node, recorder=recorder).resume("r")
    assert Counter(client.asked)[2] == 2
    assert "call.changed" not in recorder.types()


def test_events_tell_of_calls(store: Store) -> None:
    recorder = Recorder()
    graph_of(store, lambda state, ctx: ctx.journal("ask", Client().chat, "p") and None, recorder=recorder).execute({})
    told = [(event.type, event.data) for event in recorder.events if event.type.startswith("call.")]
    assert [type_ for type_, _ in told] == ["call.start", "call.complete"]
    assert (told[1][1]["call"], told[1][1]["resumed"], told[1][1]["error"], told[1][1]["node"]) == (
        "ask",
        False,
        False,
        "n",
    )
    assert told[1][1]["duration_seconds"] >= 0


def test_equal_calls_have_answers_of_their_own_each_once(store: Store) -> None:
    client = Client()
    broken = [True]

    def node(state: State, ctx: Context) -> dict[str, Any]:
        out = [ctx.journal("ask", client.chat, "p") for _ in range(3)]
        if broken.pop():
            raise OSError
        return {"out": [*out, ctx.journal("ask", client.chat, "p")]}

    fail(graph_of(store, node))
    broken.append(False)
    assert graph_of(store, node).resume("r")["out"] == ["p 1", "p 2", "p 3", "p 4"]


def test_the_answer_of_the_second_of_two_equal_calls_is_taken_where_the_first_has_none(store: Store) -> None:
    """The order in which they began is no identity."""
    client = Client()
    calls: list[int] = []

    def ask(prompt: str) -> str:
        calls.append(1)
        if len(calls) == 1:
            second = current().journal("ask", client.chat, prompt)
            raise OSError(second)
        return client.chat(prompt)

    def node(state: State, ctx: Context) -> dict[str, Any]:
        first: Any = None
        try:
            ctx.journal("ask", functools.partial(ask), "p")
        except OSError as error:
            first = str(error)
        if len(calls) == 1 and ctx.attempt == 1:
            raise OSError
        return {"first": first, "again": ctx.journal("ask", client.chat, "p")}

    fail(graph_of(store, node))
    assert len(client.asked) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.lists(st.sampled_from("aab"), min_size=1, max_size=8))
def test_however_often_it_breaks_off_a_committed_answer_is_not_asked_for_again(seed: int, prompts: list[str]) -> None:
    """Threads ask in any order, and any call may fail before it is answered or the node after it."""
    random, store = Random(seed), MemoryStore()
    client = Unreliable(random)

    def node(state: State, ctx: Context) -> dict[str, Any]:
        def one(prompt: str) -> str:
            return ctx.journal("ask", client.ask, prompt)

        order = [*prompts]
        random.shuffle(order)
        with ThreadPoolExecutor(3) as pool:
            out = [*pool.map(one, order)]
        if random.random() < 0.3:
            raise OSError
        return {"out": sorted(out)}

    graph = graph_of(store, node, retry=Retry(attempts=1000, delay=0.0))
    assert graph.execute({}, run_id="r")["out"] == sorted(prompts)
    assert client.answered == Counter(prompts)


@pytest.mark.parametrize("where", ["node", "step", "item"])
def test_what_is_tried_again_is_given_the_recorded_answers(store: Store, where: str) -> None:
    client, tries = Client(), []

    def work(_: Any = None) -> list[str]:
        ctx = current()
        out = [ctx.journal("ask", client.chat, prompt) for prompt in "ppq"]
        tries.append(1)
        if len(tries) < 3:
            raise OSError
        return out

    def node(state: State, ctx: Context) -> dict[str, Any]:
        if where == "node":
            return {"out": work()}
        if where == "item":
            return {"out": ctx.map("m", work, [1], retry=Retry(attempts=3, delay=0.0))[0]}
        while True:
            try:
                return {"out": ctx.step("s", work)}
            except OSError:
                continue

    retry = Retry(attempts=3, delay=0.0) if where == "node" else None
    assert graph_of(store, node, retry=retry).execute({}, run_id="r")["out"] == ["p 1", "p 2", "q 3"]
    assert (len(tries), client.asked) == (3, ["p", "p", "q"])


def test_a_call_belongs_to_the_innermost_step_item_and_branch(store: Store) -> None:
    def ask() -> str:
        return current().journal("ask", Client().chat, "p")

    def node(state: State, ctx: Context) -> None:
        ask()
        ctx.step("outer", lambda: [ask(), ctx.step("inner", ask), ctx.map("m", lambda _: ask(), [1]), ask()])
        ctx.map("m2", lambda _: ctx.step("s", ask), [1])
        ctx.journal("deep", ask)

    graph = StateGraph(config(store))
    graph.add_node("b", branches_node({"one": node}), version="1")
    graph.sequence("b")
    graph.execute({}, run_id="r")
    found = [one.scope for one in items(store) if one.name == "ask"]
    inside = [tuple((first[:4], name) for first, _, name in scope[1:]) for scope in found]
    assert all(scope[0] == ("b", 1, "one") for scope in found)
    one = ("one", "ask")
    assert inside[0] == (one,)
    assert [*map(str, inside[1:])] == [
        str((("one", "outer"), ("", "ask"))),
        str((("one", "inner"), ("", "ask"))),
        str((("one", "m"), (found[3][-1][0][:4], "ask"))),
        str((("one", "outer"), ("", "ask"))),
        str((("one", "m2"), (found[5][-2][0][:4], "s"), ("", "ask"))),
        str((("one", "deep"), ("call", "ask"))),
    ]


def test_answers_of_a_step_are_for_that_step(store: Store) -> None:
    client, fail_now = Client(), [True]

    def node(state: State, ctx: Context) -> dict[str, Any]:
        first = ctx.step("one", lambda: ctx.journal("ask", client.chat, "p"))
        second = ctx.step("two", lambda: ctx.journal("ask", client.chat, "p") if not fail_now.pop() else 1 / 0)
        return {"out": [first, second]}

    fail(graph_of(store, node))
    fail_now.append(False)
    assert graph_of(store, node).resume("r")["out"] == ["p 1", "p 2"]


def test_threads_of_a_node_make_calls(store: Store) -> None:
    client = Client()

    def node(state: State, ctx: Context) -> dict[str, Any]:
        with ThreadPoolExecutor(8) as pool:
            return {"out": len({*pool.map(lambda n: ctx.journal("ask", client.chat, n), range(60))})}

    assert graph_of(store, node).execute({}, run_id="r")["out"] == 60
    assert len({one.key for one in items(store)}) == 60


def test_in_a_worker_process_the_item_is_what_is_kept(store: Store) -> None:
    def node(state: State, ctx: Context) -> dict[str, Any]:
        return {"out": ctx.map("m", process_calls.ask, [1, 2], executor="processes", workers=1)}

    assert graph_of(store, node).execute({}, run_id="r")["out"] == ["asked 1", "asked 2"]
    assert [one.key.partition(" ")[0] for one in items(store)] == ["item", "item"]


def test_a_node_in_a_worker_process_keeps_nothing_so_it_journals_nothing(store: Store) -> None:
    assert "out of reach in a worker process" in str(fail(graph_of(store, process_calls.node, executor="processes")))


def test_without_a_store_the_function_is_called(store: Store) -> None:
    client = Client()
    run = graph_of(None, lambda state, ctx: {"out": [ctx.journal("a", client.chat, "p") for _ in range(2)]})
    assert run.execute({})["out"] == ["p 1", "p 2"]


def test_what_cannot_be_told_apart_or_called_is_refused(store: Store) -> None:
    error = fail(graph_of(store, lambda state, ctx: ctx.journal("ask", Client().chat, Client())))
    assert isinstance(error, UnserializableError)
    assert "bind what is not data to the function" in str(error)
    assert (error.path, error.node) == ("argument[0][0]", "n")
    for name, function in (("", int), ("a", 7)):
        with pytest.raises(ExecutionError) as caught:
            graph_of(MemoryStore(), lambda state, ctx, n=name, f=function: ctx.journal(n, f)).execute({})
        assert isinstance(caught.value.__cause__, ConfigError)


def test_a_call_that_was_not_awaited_fails_the_node(store: Store) -> None:
    async def node(state: State, ctx: Context) -> None:
        ctx.journal("ask", Client().achat, "p")

    assert "did not await journal 'ask'" in str(fail(graph_of(store, node)))


def test_an_event_of_a_program_may_begin_with_call_but_not_be_one_of_ours(store: Store) -> None:
    recorder = Recorder()
    graph_of(store, lambda state, ctx: ctx.emit("call.done", n=1), recorder=recorder).execute({})
    assert "call.done" in recorder.types()
    assert isinstance(fail(graph_of(store, lambda state, ctx: ctx.emit("call.complete"))), ConfigError)


WORKER = """
import os, signal, sys
from tau import StateGraph, open_store

url, requests, deadly = sys.argv[1:4]

def request(prompt):
    with open(requests, "a") as file:
        file.write(prompt + "\\n")
    if prompt == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return prompt.upper()

def node(state, ctx):
    return {"out": [ctx.journal("ask", request, f"p{n}") for n in range(5)]}

graph = StateGraph("g", store=open_store(url))
graph.add_node("n", node)
graph.sequence("n")
print(graph.execute({}, run_id="r", if_exists="resume")["out"])
"""


@pytest.mark.parametrize("place", ["sqlite:///{}/runs.db", "file://{}/runs"])
def test_killed_in_the_third_of_five_calls_three_are_made_after_it(tmp_path: Path, place: str) -> None:
    (tmp_path / "worker.py").write_text(WORKER)
    requests = tmp_path / "requests"
    words = [sys.executable, str(tmp_path / "worker.py"), place.format(tmp_path), str(requests)]
    killed = subprocess.run([*words, "p2"], capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = subprocess.run([*words, "none"], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "['P0', 'P1', 'P2', 'P3', 'P4']"
    assert requests.read_text().split() == ["p0", "p1", "p2", "p2", "p3", "p4"]
