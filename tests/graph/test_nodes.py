"""Nodes: what a callable expects is found out when it is added."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, Optional

import pytest

from tau.config import Retry
from tau.errors import ConfigError, GraphError
from tau.graph.nodes import make_node

if TYPE_CHECKING:
    import click

    import tau
    from tau.node.context import Context


class FakeModule:
    """Stands for a module that has a class of the same name."""

    class Context:
        pass


def sync(state: Any) -> None: ...


async def asynchronous(state: Any) -> None: ...


class Stage:
    def method(self, state: Any) -> None: ...

    async def async_method(self, state: Any, ctx: Context) -> None: ...

    @staticmethod
    async def static(state: Any) -> None: ...

    @classmethod
    def of_class(cls, state: Any) -> None: ...


class AsyncCallable:
    async def __call__(self, state: Any) -> None: ...


class SyncCallable:
    def __call__(self, state: Any, ctx: Context) -> None: ...


@functools.wraps(asynchronous)
async def wrapped(*args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (sync, False),
        (asynchronous, True),
        (lambda state: None, False),
        (functools.partial(asynchronous), True),
        (functools.partial(functools.partial(AsyncCallable())), True),
        (functools.partial(sync), False),
        (Stage().method, False),
        (Stage().async_method, True),
        (Stage.static, True),
        (Stage.of_class, False),
        (AsyncCallable(), True),
        (SyncCallable(), False),
        (wrapped, True),
        (dict, False),
        (len, False),
    ],
)
def test_async_is_seen_through_partials_methods_and_callable_objects(function: Any, expected: bool) -> None:
    assert make_node("n", function).is_async is expected


def second(state: Any, ctx: Any) -> None: ...
def second_with_default(state: Any, rate: Any = 3) -> None: ...
def second_annotated(state: Any, n: int) -> None: ...
def positional_only(state: Any, ctx: Any, /) -> None: ...
def by_text(state: Any, n: int = 3, where: Context | None = None) -> None: ...
def second_by_text_with_default(state: Any, where: Context = None) -> None: ...  # type: ignore[assignment]
def keyword(state: Any, *, ctx: Context) -> None: ...
def keyword_dotted(state: Any, *, ctx: tau.Context) -> None: ...
def keyword_full(state: Any, *, here: Optional[Context] = None) -> None: ...  # noqa: UP045
def of_another_library(state: Any, ctx: FakeModule.Context = None) -> None: ...  # type: ignore[assignment]
def of_click(state: Any, ctx: click.Context = None) -> None: ...  # type: ignore[assignment]
def star(state: Any, *args: Any, **kwargs: Any) -> None: ...
def all_stars(*args: Any, **kwargs: Any) -> None: ...
def bound(rate: float, state: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "wants", "name"),
    [
        (sync, False, None),
        (second, True, None),
        (second_annotated, True, None),
        (positional_only, True, None),
        (second_with_default, False, None),
        (second_by_text_with_default, True, None),
        (by_text, True, "where"),
        (keyword, True, "ctx"),
        (keyword_dotted, True, "ctx"),
        (keyword_full, True, "here"),
        (of_another_library, False, None),
        (of_click, False, None),
        (star, False, None),
        (all_stars, False, None),
        (functools.partial(bound, 0.5), False, None),
        (functools.partial(second, ctx=1), False, None),
        (Stage().method, False, None),
        (Stage().async_method, True, None),
        (SyncCallable(), True, None),
        (wrapped, False, None),
        (lambda state, ctx: None, True, None),
        (dict, False, None),
    ],
)
def test_a_context_goes_to_a_second_parameter_without_default_or_to_one_annotated(
    function: Any, wants: bool, name: str | None
) -> None:
    node = make_node("n", function)
    assert (node.wants_context, node.context_name) == (wants, name)


def test_the_class_itself_as_annotation_is_seen_also_under_another_name() -> None:
    context = type("Context", (), {"__module__": "tau.node.context"})

    def renamed(state: Any, *, ctx: Any = None) -> None: ...

    for annotation in (context, Optional[context], context | None):  # noqa: UP045
        renamed.__annotations__["ctx"] = annotation
        assert make_node("n", renamed).context_name == "ctx"


def nothing() -> None: ...
def only_keyword(*, state: Any) -> None: ...
def three(state: Any, ctx: Any, more: Any) -> None: ...
def required_keyword(state: Any, *, rate: float) -> None: ...
def context_and_more(state: Any, rate: float, *, ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        (nothing, "takes no argument"),
        (only_keyword, "takes no argument"),
        (three, "more"),
        (required_keyword, "rate"),
        (context_and_more, "rate"),
    ],
)
def test_a_callable_that_nobody_could_call_is_refused(function: Any, missing: str) -> None:
    with pytest.raises(GraphError, match=f"node n.*{missing}"):
        make_node("n", function)


def yields(state: Any) -> Any:
    yield {}


async def async_yields(state: Any) -> Any:
    yield {}


@pytest.mark.parametrize("function", [yields, async_yields, functools.partial(yields)])
def test_a_generator_is_no_node(function: Any) -> None:
    with pytest.raises(GraphError, match="generator"):
        make_node("n", function)


@pytest.mark.parametrize("function", [None, 3, "ingest", {}])
def test_what_is_not_callable_is_no_node(function: Any) -> None:
    with pytest.raises(GraphError, match="expected a callable"):
        make_node("n", function)


@pytest.mark.parametrize("name", ["", None, 3, "a\0", "\udc80", "x" * 257, b"a"])
def test_a_name_is_text_of_1_to_256_characters(name: Any) -> None:
    with pytest.raises(GraphError, match="node name"):
        make_node(name, sync)


@pytest.mark.parametrize("name", ["a", "x" * 256, "../..", "a b", "\n", "データ", "🌡", "None", "end"])
def test_any_other_text_is_a_name(name: str) -> None:
    assert make_node(name, sync).name == name


@pytest.mark.parametrize(
    "options",
    [
        {"retry": 3},
        {"retry": {"attempts": 3}},
        {"timeout": 0},
        {"timeout": -1.0},
        {"timeout": math.inf},
        {"timeout": math.nan},
        {"timeout": "3"},
        {"timeout": True},
        {"idempotent": 1},
    ],
)
def test_a_bad_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="node n"):
        make_node("n", sync, **options)


@pytest.mark.parametrize(
    "options", [{"version": ""}, {"version": 1.5}, {"version": True}, {"depends_on": "helper"}, {"depends_on": 3}]
)
def test_a_bad_version_or_dependency_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(GraphError, match="node n"):
        make_node("n", sync, **options)


def test_a_node_keeps_its_options() -> None:
    node = make_node("n", sync, retry=Retry(attempts=2), timeout=5, idempotent=True)
    assert (node.retry, node.timeout, node.idempotent, node.function) == (Retry(attempts=2), 5.0, True, sync)
