"""The fingerprint of code: what changes it, what does not, and that it is the same in every process."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
import os
import subprocess
import sys
import textwrap
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tau.errors import GraphError
from tau.graph import bytecode_digest, code_digest, syntax_digest
from tau.graph.changes import same_code, same_node
from tau.graph.fingerprint import CodeFingerprint, GraphFingerprint, NodeFingerprint, of_code, of_node
from tau.graph.graph import Graph
from tau.predicates import and_, key_equals, key_exists

_numbers = itertools.count()


def load(folder: Path, source: str) -> types.ModuleType:
    """A module from source text, in a file of its own."""
    file = folder / f"pipeline_{next(_numbers)}.py"
    file.write_text(textwrap.dedent(source), "utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code(folder: Path, source: str, name: str = "f") -> CodeFingerprint:
    return of_code(getattr(load(folder, source), name))


BASE = """
    import functools

    def helper(x):
        return x + 1

    def f(state, *, rate=0.5):
        '''Says what it does.'''
        total = 0
        for key in ("a", "b"):
            try:
                total += state[key] if key in {"a", "b", "c"} else 1
            except KeyError as error:
                raise ValueError(f"no {key}") from error
        squares = [x * x for x in range(10) if x % 2]
        try: total.conjugate()
        except TypeError: pass

        def inner(y):
            '''Says what it does.'''
            return y * rate

        class Local:
            '''Says what it is.'''
            unit = "K"
            def method(self):
                return inner(1)

        return {"total": total, "squares": squares, "inner": inner(2), "log": lambda: print(total), "local": Local}
"""

SAME = {
    "comments": lambda s: s.replace("total = 0", "total = 0  # starts at nothing\n        # and grows"),
    "docstring": lambda s: s.replace("'''Says what it does.'''", "'''Says something else.'''"),
    "no docstring": lambda s: s.replace("        '''Says what it does.'''\n", "", 1),
    "docstring of a nested function gone": lambda s: s.replace(
        "            '''Says what it does.'''\n            return y", "            return y"
    ),
    "docstring of a nested class": lambda s: s.replace("'''Says what it is.'''", "'''Another.'''"),
    "docstring of a nested class gone": lambda s: s.replace("            '''Says what it is.'''\n", ""),
    "moved down": lambda s: s.replace("def helper", "\n" * 40 + "    X = 1\n    def helper"),
    "blank lines": lambda s: s.replace("        squares", "\n\n\n        squares"),
    "a helper": lambda s: s.replace("x + 1", "x + 2"),
    "other quotes": lambda s: s.replace('"total"', "'total'"),
    "over several lines": lambda s: s.replace(
        'return {"total": total, "squares": squares,',
        'return {\n        "total":\n        total,\n        "squares":\n        (squares),\n        ',
    ),
    "a body on a line of its own": lambda s: s.replace("try: total", "try:\n            total"),
    "annotations": lambda s: s.replace("(state, *, rate=0.5):", "(state: dict, *, rate: float = 0.5) -> dict:"),
}

CHANGED = {
    "a constant": lambda s: s.replace("total = 0", "total = 1"),
    "a constant of another type": lambda s: s.replace("total = 0", "total = 0.0"),
    "a text": lambda s: s.replace('"no {key}"', '"No {key}"'),
    "an element of a set": lambda s: s.replace('{"a", "b", "c"}', '{"a", "b", "d"}'),
    "an operator": lambda s: s.replace("x * x", "x + x"),
    "a comparison": lambda s: s.replace("x % 2]", "x % 2 == 0]"),
    "a name called": lambda s: s.replace("print(total)", "repr(total)"),
    "an attribute": lambda s: s.replace("state[key]", "state.key"),
    "a nested function": lambda s: s.replace("y * rate", "y / rate"),
    "a comprehension": lambda s: s.replace("range(10)", "range(11)"),
    "a lambda inside": lambda s: s.replace("lambda: print(total)", "lambda: print(key)"),
    "a nested class": lambda s: s.replace('unit = "K"', 'unit = "C"'),
    "a method of a nested class": lambda s: s.replace("return inner(1)", "return inner(2)"),
    "a default value": lambda s: s.replace("rate=0.5", "rate=0.6"),
    "a handler": lambda s: s.replace("except KeyError", "except IndexError"),
    "what a handler covers": lambda s: s.replace("        squares", "            total += 1\n        squares"),
    "a statement removed": lambda s: s.replace("total = 0", "total = 0; total = 0"),
    "it became async": lambda s: s.replace("    def f(", "    async def f("),
    "order of statements": lambda s: s.replace(
        '"total": total, "squares": squares', '"squares": squares, "total": total'
    ),
}


@pytest.mark.parametrize("edit", SAME)
def test_these_edits_change_nothing(tmp_path: Path, edit: str) -> None:
    edited = SAME[edit](BASE)
    assert edited != BASE
    before, after = code(tmp_path, BASE), code(tmp_path, edited)
    assert same_code(before, after) is True
    assert before.ast == after.ast
    assert before.ast is not None
    assert before.bytecode == after.bytecode


@pytest.mark.parametrize("edit", CHANGED)
def test_these_edits_are_changes_on_both_roads(tmp_path: Path, edit: str) -> None:
    edited = CHANGED[edit](BASE)
    assert edited != BASE
    before, after = code(tmp_path, BASE), code(tmp_path, edited)
    assert same_code(before, after) is False
    assert before.bytecode != after.bytecode
    assert before.ast != after.ast
    assert after.ast is not None


def test_what_a_handler_covers_counts_though_the_instructions_are_the_same(tmp_path: Path) -> None:
    inside = """
    def f(state):
        try:
            state.open()
            state.read()
        except OSError:
            return None
    """
    outside = """
    def f(state):
        try:
            state.open()
        except OSError:
            return None
        state.read()
    """
    assert code(tmp_path, inside).bytecode != code(tmp_path, outside).bytecode


def test_the_name_and_the_place_of_a_function_do_not_count(tmp_path: Path) -> None:
    module = load(
        tmp_path,
        """
        def f(state):
            class Local:
                x = 1
            return {"a": [x for x in state], "l": Local}

        def g(state):
            class Local:
                x = 1
            return {"a": [x for x in state], "l": Local}

        class Stages:
            def f(state):
                class Local:
                    x = 1
                return {"a": [x for x in state], "l": Local}
        """,
    )
    assert of_code(module.f) == of_code(module.g) == of_code(module.Stages.f)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import pipeline
from tau.graph.fingerprint import of_node
from tau.predicates import key_equals, and_
import functools
for item in (pipeline.f, functools.partial(pipeline.f, rate={"b", "a", "c"}), pipeline.Stage(frozenset("xyz")),
             lambda s: s in {"p", "q", "r"}, and_(key_equals("k", {"x": {"a", "b", "c"}}), pipeline.helper)):
    print(of_node(item, depends_on=[pipeline.helper, pipeline.Stage, pipeline]))
"""

MODULE = (
    BASE
    + """
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Stage:
        keys: frozenset
        def __call__(self, state):
            return {key: state[key] for key in self.keys if key in {"u", "v", "w"}}
"""
)


def test_it_is_the_same_in_every_process_and_under_every_hash_seed(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(textwrap.dedent(MODULE), "utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, "utf-8")
    found = set()
    for seed in ("0", "1", "2", "77"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
        found.add(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 1
    assert found.pop().count("CodeFingerprint") == 5 * 4


def test_running_and_tracing_a_function_does_not_change_it(tmp_path: Path) -> None:
    function = load(tmp_path, BASE).f
    before = of_code(function)
    for _ in range(200):  # enough for the interpreter to specialise its instructions
        function({"a": 1, "b": 2})
    bytecode_digest._digests.clear()
    assert of_code(function) == before
    old = sys.gettrace()
    sys.settrace(lambda *args: None)
    try:
        function({"a": 1, "b": 2})
        bytecode_digest._digests.clear()
        during = of_code(function)
    finally:
        sys.settrace(old)
    assert during == before


def test_a_source_edited_after_it_was_loaded_is_not_trusted(tmp_path: Path) -> None:
    module = load(tmp_path, BASE)
    file = Path(str(module.__file__))
    file.write_text(file.read_text("utf-8").replace("total = 0", "total = 1"), "utf-8")
    syntax_digest._trees.clear()
    found = of_code(module.f)
    assert found.ast is None
    assert found.bytecode == code(tmp_path, BASE).bytecode


def test_without_a_source_there_is_still_the_bytecode(tmp_path: Path) -> None:
    module = load(tmp_path, BASE)
    Path(str(module.__file__)).unlink()
    syntax_digest._trees.clear()
    found = of_code(module.f)
    assert found.bytecode
    assert found.ast is None


def test_lambdas_go_by_bytecode(tmp_path: Path) -> None:
    module = load(tmp_path, "f, g, h = lambda s: s['a'], lambda s: s['a'], lambda s: s['b']\n")
    assert of_code(module.f).ast is None
    assert same_code(of_code(module.f), of_code(module.g)) is True
    assert same_code(of_code(module.f), of_code(module.h)) is False


def test_a_decorator_counts_by_its_wrapper_and_the_wrapped_function_is_seen(tmp_path: Path) -> None:
    source = """
    import functools
    def logged(function):
        @functools.wraps(function)
        def wrapper(*args):
            print("called")
            return function(*args)
        return wrapper
    def plain(state): return {"a": 1}
    @logged
    def f(state): return {"a": 1}
    """
    module = load(tmp_path, source)
    before = of_code(module.f)
    assert before.ast is not None
    assert before.bytecode != of_code(module.plain).bytecode
    assert same_code(before, code(tmp_path, source.replace("called", "CALLED"))) is False
    assert (
        same_code(before, code(tmp_path, source.replace('f(state): return {"a": 1}', 'f(state): return {"a": 2}')))
        is False
    )


def test_the_decorator_that_adds_a_node_does_not_count(tmp_path: Path) -> None:
    source = """
    from tau.graph.graph import Graph
    graph = Graph("g")
    @graph.node
    def f(state): return {"a": 1}
    """
    edited = source.replace("@graph.node", "@graph.node(\n        timeout=3,\n    )")
    assert code(tmp_path, source) == code(tmp_path, edited)
    assert code(tmp_path, source).ast is not None


def add(a: int, state: Any, *, unit: Any = "K") -> None:
    """Stands for any work with parameters of its own."""


def test_the_arguments_of_a_partial_count() -> None:
    partial = functools.partial
    base = of_code(partial(add, 1, unit="C"))
    assert base == of_code(partial(partial(add, 1), unit="C"))
    for other in (
        partial(add, 2, unit="C"),
        partial(add, 1, unit="F"),
        partial(add, 1),
        partial(add, True, unit="C"),
        add,
    ):
        assert same_code(base, of_code(other)) is False
    assert of_code(partial(add, unit={"a": {1, 2}, "b": [1]})) == of_code(partial(add, unit={"b": [1], "a": {2, 1}}))


class Mutable:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, state: Any) -> float:
        return self.rate

    def method(self, state: Any) -> float:
        return self.rate * 2


@dataclass(frozen=True)
class Frozen:
    rate: Any

    def __call__(self, state: Any) -> Any:
        return self.rate


def test_callable_objects_count_by_their_code_and_by_data_only_where_frozen() -> None:
    assert of_code(Mutable(1)) == of_code(Mutable(2))
    assert of_code(Mutable(1).method) == of_code(Mutable(2).method)
    assert of_code(Mutable(1)) != of_code(Mutable(1).method)
    assert of_code(Frozen(1)) == of_code(Frozen(1))
    assert of_code(Frozen(1)) != of_code(Frozen(2))


def test_bound_values_without_a_stable_form_count_by_their_type() -> None:
    assert of_code(Frozen(object())) == of_code(Frozen(object()))
    assert of_code(Frozen(math.sqrt)) != of_code(Frozen(math.cos))
    assert of_code(Frozen(Mutable)) != of_code(Frozen(Frozen))


def test_values_that_hold_themselves_end() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    assert of_code(Frozen(cycle)) == of_code(Frozen(cycle))

    def recursive(state: Any, me: Any = None) -> None: ...

    recursive.__defaults__ = (recursive,)
    assert of_code(recursive).bytecode
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert of_code(Frozen(deep)).bytecode


def test_a_cached_function_counts_by_what_it_wraps(tmp_path: Path) -> None:
    source = "import functools\n@functools.lru_cache\ndef f(state): return 1\n"
    assert same_code(code(tmp_path, source), code(tmp_path, source)) is True
    assert same_code(code(tmp_path, source), code(tmp_path, source.replace("return 1", "return 2"))) is False


@pytest.mark.parametrize(
    "function", [len, dict, math.sqrt, [].append, functools.partial(len), functools.partial(dict, a=1)]
)
def test_what_is_written_in_c_is_opaque_unless_it_has_a_version(function: Any) -> None:
    node = of_node(function)
    assert node.opaque
    assert same_node(node, of_node(function)) is None
    assert not of_node(function, "1").opaque
    assert same_node(of_node(function, "1"), of_node(function, "1")) is True


def test_a_version_decides_instead_of_the_code() -> None:
    one, other = (lambda s: 1), (lambda s: 2)
    assert same_node(of_node(one, "1"), of_node(other, "1")) is True
    assert same_node(of_node(one, "1"), of_node(one, "2")) is False


def test_giving_a_first_version_to_unchanged_code_is_no_change() -> None:
    one, other = (lambda s: 1), (lambda s: 2)
    assert same_node(of_node(one), of_node(one, "1")) is True
    assert same_node(of_node(one, "1"), of_node(one)) is True
    assert same_node(of_node(one), of_node(other, "1")) is False


def test_what_a_node_depends_on_counts(tmp_path: Path) -> None:
    def node(source: str) -> NodeFingerprint:
        (tmp_path / "lib.py").write_text(textwrap.dedent(source), "utf-8")
        spec = importlib.util.spec_from_file_location("lib", tmp_path / "lib.py")
        assert spec is not None
        assert spec.loader is not None
        lib = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(lib)
        return of_node(lib.f, depends_on=[lib.helper, lib.Unit, lib])

    source = """
    def helper(x): return x + 1
    class Unit:
        '''Of measurement.'''
        name = "K"
        def convert(self, x): return x
        @property
        def short(self): return self.name
    def f(state): return helper(1)
    """
    base = node(source)
    assert list(base.depends) == ["lib.helper", "lib.Unit", "lib"]
    assert same_node(base, node("# a comment\n" + textwrap.dedent(source).replace("Of measurement", "?"))) is True
    for before, after in [("x + 1", "x + 2"), ('"K"', '"C"'), ("self, x): return x", "self, x): return -x"),
                          ("return self.name", "return 1"), ("def f", "LIMIT = 3\n    def f")]:  # fmt: skip
        assert same_node(base, node(source.replace(before, after))) is False
    assert same_node(base, of_node(load(tmp_path, source).f)) is False


def test_a_package_counts_with_every_file_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "climate_lib"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "sub" / "deep.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("climate_lib")
    before = code_digest.of_module(module).now
    (package / "sub" / "deep.py").write_text("x = 1  # the same\n")
    assert code_digest.of_module(module).now == before
    (package / "sub" / "deep.py").write_text("x = 2\n")
    assert code_digest.of_module(module).now != before
    monkeypatch.delitem(sys.modules, "climate_lib")


@pytest.mark.parametrize("item", [math.sqrt, sys, 3, "helper", object()])
def test_a_dependency_that_cannot_be_looked_at_is_refused(item: Any) -> None:
    with pytest.raises(GraphError, match="depends_on"):
        of_node(lambda s: s, depends_on=[item])


def test_predicates_count_by_their_definition() -> None:
    def is_hot(state: Any) -> bool:
        return True

    base = of_code(and_(key_equals("k", 1), is_hot))
    assert base == of_code(and_(key_equals("k", 1), is_hot))
    for other in (and_(key_equals("k", 2), is_hot), and_(key_equals("k", 1)), and_(key_exists("k"), is_hot)):
        assert same_code(base, of_code(other)) is False


OTHER = "2.7"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (CodeFingerprint("3.11", "a", "t"), CodeFingerprint("3.11", "a", "t"), True),
        (CodeFingerprint("3.11", "a", None), CodeFingerprint("3.11", "a", "t"), True),
        (CodeFingerprint("3.11", "a", "t"), CodeFingerprint("3.11", "b", "t"), True),
        (CodeFingerprint("3.11", "a", "t"), CodeFingerprint("3.11", "b", "u"), False),
        (CodeFingerprint("3.11", "a", None), CodeFingerprint("3.11", "b", None), False),
        (CodeFingerprint("3.11", "a", "t"), CodeFingerprint("3.12", "b", "t"), True),
        (CodeFingerprint("3.11", "a", "t"), CodeFingerprint("3.12", "b", "u"), False),
        (CodeFingerprint("3.11", "a", None), CodeFingerprint("3.12", "b", "t"), None),
        (CodeFingerprint("3.11", "a", None), CodeFingerprint("3.12", "b", None), None),
        (CodeFingerprint("3.11", "a", None), CodeFingerprint("3.12", "a", None), None),
        (CodeFingerprint("3.11", ""), CodeFingerprint("3.11", ""), None),
        (CodeFingerprint("3.11", "a", "t"), CodeFingerprint("3.11", ""), False),
        (CodeFingerprint("3.11", ""), CodeFingerprint("3.12", "b", "u"), False),
    ],
)
def test_bytecode_compares_within_a_python_version_and_syntax_trees_across(
    old: CodeFingerprint, new: CodeFingerprint, expected: bool | None
) -> None:
    assert same_code(old, new) is expected


def test_a_graphs_fingerprint_comes_back_from_its_bytes() -> None:
    graph = Graph("g")
    graph.add_node("a", add, version="1", depends_on=[add])
    graph.add_node("b", dict)
    graph.add_edge("a", "b", key_equals("k", [1]))
    graph.set_entry_point("a")
    graph.set_exit_point("b")
    found = graph.fingerprint()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=GraphFingerprint) == found
    assert (found.name, list(found.nodes), found.entry, found.exits) == ("g", ["a", "b"], "a", ("b",))


def test_a_fingerprint_before_freezing_follows_the_graph() -> None:
    graph = Graph("g")
    graph.sequence(add_one)
    before = graph.fingerprint()
    graph.add_edge("add_one", "add_one")
    assert graph.fingerprint() != before


def add_one(state: Any) -> None:
    """Stands for any work."""
