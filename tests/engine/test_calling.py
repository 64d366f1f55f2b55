"""How a node is called: every signature, annotated in every way, sync and async, wrapped, bound and as a method."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import itertools
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from tau import ConfigError, Context, ExecutionError, GraphError, Retry, State, StateGraph, UnserializableError
from tau.stores.memory import MemoryStore
from tau.testing import simulate

_numbers = itertools.count()

# What each takes the context as; the annotation stands for A. None: a context is not asked for.
SIGNATURES = {
    "second": "state, ctx: A",
    "second, with a default": "state, ctx: A = None",
    "second, by place only": "state, ctx: A, /",
    "second, by place only, with a default": "state, ctx: A = None, /",
    "keyword": "state, *, ctx: A",
    "keyword, with a default": "state, *, ctx: A = None",
    "third": "state, rate=3, ctx: A = None",
    "with everything": "state, *args, ctx: A = None, **kwargs",
}
ANNOTATIONS = {
    "the class": "Context",
    "a text": '"Context"',
    "with its module": "tau.Context",
    "under another name": "Renamed",
    "None first": "None | Context",
    "None last": "Context | None",
    "a text of a union": '"Context | None"',
    "Optional": "Optional[Context]",
    "Optional of a text": 'Optional["Context"]',
    "Optional of a module": "typing.Optional[tau.Context]",
    "with blanks": "t.Optional[ Context ]",
    "Union": "Union[Context, None]",
    "Union, None first": "typing.Union[None, Context]",
    "Annotated": 'Annotated[Context, "where"]',
    "Annotated union": "Annotated[Optional[Context], print]",
    "an alias": "Alias",
    "an alias in a union": "int | Alias",
    "with brackets": "(Context)",
    "for a type checker": "Checked",
}
PARTS = """
import typing
import typing as t
from typing import Annotated, Optional, TYPE_CHECKING, Union
import tau
from tau import Context
from tau import Context as Renamed
Alias = Optional[Context]
Checked = "tau.Context"
seen = []
"""
BODY = """
def {name}_sync({signature}):
    seen.append(ctx)
    return {{"done": True}}

async def {name}_async({signature}):
    seen.append(ctx)
    return {{"done": True}}

class {name}_object:
    def __call__(self, {signature}):
        seen.append(ctx)
        return {{"done": True}}

    def method(self, {signature}):
        seen.append(ctx)
        return {{"done": True}}

    async def async_method(self, {signature}):
        seen.append(ctx)
        return {{"done": True}}

    @staticmethod
    def static({signature}):
        seen.append(ctx)
        return {{"done": True}}

    @classmethod
    def of_class(cls, {signature}):
        seen.append(ctx)
        return {{"done": True}}

def {name}_bound(unit, {signature}):
    seen.append(ctx)
    return {{"done": True}}
"""


def load(folder: Path, source: str) -> types.ModuleType:
    file = folder / f"nodes_{next(_numbers)}.py"
    file.write_text(source, "utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def passes_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def passes_on_behind_the_state(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(state: State, *args: Any, **kwargs: Any) -> Any:
        return function(state, *args, **kwargs)

    return wrapper


def passes_on_async(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        return await result if asyncio.iscoroutine(result) else result

    return wrapper


class PassesOn:
    """A decorator that is a class."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def ways(module: types.ModuleType, name: str) -> dict[str, Callable[..., Any]]:
    sync, later = getattr(module, f"{name}_sync"), getattr(module, f"{name}_async")
    made = getattr(module, f"{name}_object")()
    return {
        "sync": sync,
        "async": later,
        "object": made,
        "method": made.method,
        "async method": made.async_method,
        "static": made.static,
        "of a class": made.of_class,
        "partial": functools.partial(getattr(module, f"{name}_bound"), "K"),
        "partial of an async": functools.partial(later),
        "wrapped": passes_on(sync),
        "wrapped behind the state": passes_on_behind_the_state(sync),
        "wrapped async": passes_on(later),
        "wrapped by an async": passes_on_async(sync),
        "wrapped method": passes_on(made.method),
        "wrapped twice": passes_on(passes_on_behind_the_state(later)),
        "wrapped partial": passes_on(functools.partial(sync)),
        "partial of wrapped": functools.partial(passes_on(getattr(module, f"{name}_bound")), "K"),
        "wrapped by an object": PassesOn(sync),
    }


def call(function: Callable[..., Any], in_loop: bool = False) -> State:
    graph = StateGraph("calling")
    graph.add_node("a", function)
    graph.sequence("a")
    return asyncio.run(graph.aexecute({})) if in_loop else graph.execute({})


@pytest.mark.parametrize("future", [True, False], ids=["future", "now"])
@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_a_node_is_given_its_context_however_it_is_written(tmp_path: Path, annotation: str, future: bool) -> None:
    text = ANNOTATIONS[annotation]
    source = ("from __future__ import annotations\n" if future else "") + PARTS
    for number, signature in enumerate(SIGNATURES.values()):
        source += BODY.format(name=f"n{number}", signature=signature.replace("A", text))
    module = load(tmp_path, source)
    for number, signature in enumerate(SIGNATURES):
        for way, function in ways(module, f"n{number}").items():
            module.seen.clear()
            final = call(function, in_loop=number % 4 == 0)
            assert final["done"] is True, (signature, way)
            assert [type(one) for one in module.seen] == [Context], (signature, way)


# What is really called decides.


def two(state: State, ctx: Context) -> dict[str, Any]:
    return {"done": ctx is not None}


async def two_async(state: State, ctx: Context) -> dict[str, Any]:
    return {"done": ctx is not None}


def optional(state: State, *, ctx: Context | None = None) -> dict[str, Any]:
    return {"done": ctx is not None}


def narrowed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(state: State) -> Any:
        return function(state, "a context of its own")

    return wrapper


def narrowed_keyword(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(state: State, **options: Any) -> Any:
        assert len(options) < 2
        return function(state, **options)

    return wrapper


def takes_it_itself(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(state: State, ctx: Context) -> Any:
        assert isinstance(ctx, Context)
        return function(state)

    return wrapper


def with_more(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(state: State, tries: int = 3, *args: Any, **kwargs: Any) -> Any:
        assert tries == 3
        return function(state, *args, **kwargs)

    return wrapper


@pytest.mark.parametrize("in_loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    "function",
    [
        narrowed(two),
        narrowed(two_async),
        functools.partial(narrowed(two)),
        narrowed_keyword(two),
        narrowed_keyword(optional),
        takes_it_itself(lambda state: {"done": True}),
        takes_it_itself(narrowed(two)),
        with_more(two),
        with_more(optional),
        passes_on(narrowed(two)),
    ],
)
def test_a_wrapper_is_given_what_it_takes_and_not_what_it_wraps_takes(
    function: Callable[..., Any], in_loop: bool
) -> None:
    assert call(function, in_loop)["done"] is True


UNKNOWN = """
from __future__ import annotations
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    import tau as T
    import click
    from tau import Context as Cx
    from click import Context
    from elsewhere import Context as Other, Thing
def nobody_knows(state, ctx: RunContext = None): ...
def in_a_union(state, *, ctx: None | RunContext = None): ...
def renamed(state, ctx: Cx = None): ...
def renamed_module(state, ctx: T.Context | None = None): ...
def of_click(state, ctx: click.Context = None): ...
def imported_from_click(state, ctx: Context | None = None): ...
def of_another(state, ctx: Other = None): ...
def a_thing(state, ctx: Thing = None, more: list[Thing] = ()): ...
def not_there(state, ctx: Missing = None, more: a.b.c = 1): ...
def no_python(state, ctx: "not a type!" = None): ...
def a_call(state, ctx: print("evaluated") = None): ...
def the_first(state: RunContext, rate=1): ...
def by_place(state: Cx, ctx: RunContext): return {"done": ctx is not None}
def a_list(state, ctx: list[T.Context] = ()): ...
"""


@pytest.mark.parametrize("name", ["nobody_knows", "in_a_union", "renamed", "renamed_module"])
def test_an_annotation_that_may_be_a_context_and_is_not_to_be_found_is_an_error(tmp_path: Path, name: str) -> None:
    function = getattr(load(tmp_path, UNKNOWN), name)
    with pytest.raises(GraphError, match=f"node a: {name} has a parameter annotated '.*; import it where the program"):
        StateGraph("g").add_node("a", function)


@pytest.mark.parametrize(
    "name",
    [
        "of_click",
        "imported_from_click",
        "of_another",
        "a_thing",
        "not_there",
        "no_python",
        "a_call",
        "the_first",
        "a_list",
    ],
)
def test_every_other_annotation_is_left_alone(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    function = getattr(load(tmp_path, UNKNOWN), name)
    graph = StateGraph("g")
    graph.add_node("a", function)
    assert graph.nodes["a"].wants_context is False
    assert capsys.readouterr().out == ""


def test_a_second_parameter_without_a_default_is_given_it_whatever_its_annotation(tmp_path: Path) -> None:
    assert call(load(tmp_path, UNKNOWN).by_place)["done"] is True


# A function that is not async and gives what has to be awaited.


async def fetch(state: State) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"done": True}


async def fail(state: State) -> dict[str, Any]:
    raise OSError("the line is down")


class Later:
    def __await__(self) -> Any:
        yield from asyncio.sleep(0).__await__()
        return {"done": True}


LATE: dict[str, Callable[..., Any]] = {
    "a lambda": lambda state, ctx: fetch(state),
    "a wrapper": passes_on(fetch),
    "a partial of a wrapper": functools.partial(passes_on(fetch)),
    "an object": PassesOn(fetch),
    "an object of its own": lambda state: Later(),
}


@pytest.mark.parametrize("in_loop", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("timeout", [None, 60.0])
@pytest.mark.parametrize("function", LATE)
def test_what_a_node_gives_to_be_awaited_is_awaited(function: str, timeout: float | None, in_loop: bool) -> None:
    graph = StateGraph("late")
    graph.add_node("a", LATE[function], timeout=timeout)
    graph.sequence("a")
    assert (asyncio.run(graph.aexecute({})) if in_loop else graph.execute({}))["done"] is True


@pytest.mark.parametrize("in_loop", [False, True], ids=["sync", "async"])
def test_what_it_raises_is_the_node_s_failure_and_is_tried_again(in_loop: bool) -> None:
    tries: list[int] = []

    def node(state: State) -> Any:
        tries.append(1)
        return fail(state) if len(tries) == 1 else fetch(state)

    graph = StateGraph("late")
    graph.add_node("a", node, retry=Retry(attempts=2, delay=0))
    graph.sequence("a")
    assert (asyncio.run(graph.aexecute({})) if in_loop else graph.execute({}))["done"] is True
    with pytest.raises(ExecutionError, match="the line is down"):
        call(lambda state, ctx: fail(state), in_loop)


def test_it_is_awaited_in_simulated_runs_too() -> None:
    def make() -> StateGraph:
        graph = StateGraph("late")
        graph.add_node("a", passes_on(fetch))
        graph.sequence("a")
        return graph

    final = simulate(make, {}).state
    assert final is not None
    assert final["done"] is True


def test_a_step_that_was_not_awaited_says_so() -> None:
    made: list[Any] = []

    def forgotten(state: State, ctx: Context) -> Any:
        made.append(ctx.step("fetch", fetch, state))
        return {"x": made[0]}

    async def given_a_lambda(state: State, ctx: Context) -> Any:
        return {"x": ctx.step("fetch", lambda: fetch(state))}

    for node, remedy in ((forgotten, "did not await step 'fetch'"), (given_a_lambda, "give the async f")):
        graph = StateGraph("late", store=MemoryStore())
        graph.add_node("a", node)
        graph.sequence("a")
        with pytest.raises(ExecutionError) as caught:
            graph.execute({})
        assert isinstance(caught.value.__cause__, ConfigError | UnserializableError)
        assert remedy in str(caught.value)


# Data sets, which are mappings and more.


@pytest.mark.parametrize("stored", [True, False])
def test_a_data_set_is_not_taken_for_a_mapping_of_changes(stored: bool) -> None:
    data = xr.Dataset({"t": ("x", [1.0])}, attrs={"title": "lost otherwise"})
    graph = StateGraph("data", store=MemoryStore()) if stored else StateGraph("data")
    graph.add_node("a", lambda state: data)
    graph.sequence("a")
    with pytest.raises(ExecutionError, match=r"returned Dataset; return a mapping of changes, as in {'data': the Data"):
        graph.execute({})
    for give in (graph.execute, State, State({}).merge):
        with pytest.raises(ConfigError, match="one of type Dataset is more than its items: give it a name"):
            give(data)


def test_other_mappings_are_changes() -> None:
    assert call(lambda state: types.MappingProxyType({"done": True}))["done"] is True
