"""The reference: one page of Markdown for each group of public names, made from their signatures and docstrings.

What `help` shows, in the order of the alphabet. A name in single backticks that is public becomes a link to it.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

import tau


class Page(NamedTuple):
    title: str
    about: str


class Entry(NamedTuple):
    name: str  # as a program writes it: tau.StateGraph
    value: Any
    page: str


PAGES = {
    "graphs.md": Page("Graphs and states", "What a program is made of, and what it does with its runs."),
    "configuration.md": Page("Configuration", "How a graph, its checkpoints and its retries are set up."),
    "workflows.md": Page("Workflows", "Chains, maps, choices and branches, alone or as nodes."),
    "operations.md": Page("Runs that are kept", "Looking after stored runs, and working them off."),
    "stores.md": Page("Stores", "Where runs are kept, and what a store must do."),
    "observers.md": Page("Observers", "What receives the events of a run."),
    "testing.md": Page("Testing", "What tests of graphs, stores and observers use."),
    "agents.md": Page("Agents", "Models as nodes."),
    "hub.md": Page("Hub", "Messages between agents."),
    "errors.md": Page("Errors", "Every error that tau raises, below `TauError`. What to do about each is in "
                                "[troubleshooting](../troubleshooting.md)."),
}  # fmt: skip
# The page of a public name, by the module that it comes from; the longest that fits counts.
HOMES = {
    "tau": "graphs.md",
    "tau.config": "configuration.md",
    "tau.workflows": "workflows.md",
    "tau.workflows.config": "configuration.md",
    "tau.graph.branches": "workflows.md",
    "tau.operations": "operations.md",
    "tau.stores": "stores.md",
    "tau.observers": "observers.md",
    "tau.events": "observers.md",
    "tau.testing": "testing.md",
    "tau.agents": "agents.md",
    "tau.hub": "hub.md",
    "tau.errors": "errors.md",
    "tau.agents.errors": "errors.md",
    "tau.hub.errors": "errors.md",
}
# Public names that are not in tau itself; of a module alone, all that its ``__all__`` has. What is absent is left out.
FURTHER = {
    "tau.observers": [],
    "tau.testing": [],
    "tau.agents": [],
    "tau.agents.errors": [],
    "tau.hub": [],
    "tau.stores.contract": ["Batch", "Lease", "Owner", "PositionConflict", "Query", "Store"],
    "tau.stores.memory": ["MemoryStore"],
    "tau.stores.sqlite": ["SQLiteStore"],
    "tau.stores.file": ["FileStore"],
    "tau.stores.postgres": ["PostgresStore"],
    "tau.stores.redis": ["RedisStore"],
    "tau.stores.s3": ["S3Store"],
}


def entries() -> list[Entry]:
    """Every public name, once, with the page it is on."""
    found: dict[int, Entry] = {}
    for name in tau.__all__:
        value = getattr(tau, name, None)  # None: of a part that is not there
        if value is not None and not inspect.ismodule(value) and name != "__version__":
            found.setdefault(id(value), Entry(f"tau.{name}", value, page_of(value, "tau")))
    for module, listed in FURTHER.items():
        if importlib.util.find_spec(module) is None:
            continue
        there = importlib.import_module(module)
        for name in listed or there.__all__:
            value = getattr(there, name)
            if not inspect.ismodule(value):
                found.setdefault(id(value), Entry(f"{module}.{name}", value, page_of(value, module)))
    return sorted(found.values(), key=lambda entry: (entry.name.rpartition(".")[0], entry.name.lower()))


def page_of(value: Any, module: str) -> str:
    home = getattr(value, "__module__", None) or module
    home = home if home.startswith("tau") else module
    while home not in HOMES:
        home = home.rpartition(".")[0]
    return HOMES[home]


def pages() -> dict[str, str]:
    """The text of each page of the reference, by its name."""
    every = entries()
    classes = {one.value for one in every if inspect.isclass(one.value)}
    links = {one.name.rpartition(".")[2]: f"{one.page}#{anchor(one.name)}" for one in every}
    texts: dict[str, list[str]] = {}
    for one in every:
        texts.setdefault(one.page, []).append(section(one, links, classes))
    return {
        name: f"# {page.title}\n\n{page.about}\n\n" + "\n".join(texts[name]) + tree(name)
        for name, page in PAGES.items()
        if name in texts
    }


def anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower())


def tree(page: str) -> str:
    return f"\n## The tree\n\n{prose(inspect.getdoc(tau.errors) or '', {})}" if page == "errors.md" else ""


def section(entry: Entry, links: dict[str, str], classes: set[type]) -> str:
    """One name: its signature, what it says of itself, and the methods of a class. Those that only another public class
    describes are left to that."""
    text = f"## {entry.name}\n\n{signature(entry.name, entry.value)}{prose(described(entry.value), links)}\n"
    if inspect.isclass(entry.value) and not issubclass(entry.value, BaseException):
        short = entry.name.rpartition(".")[2]
        above = [one.__name__ for one in entry.value.__mro__[1:] if one in classes]
        if above:
            text += f"\n{linked(f'Also what `{above[0]}` has.', links)}\n"
        for name, member in members(entry.value):
            if describer(entry.value, name) in classes - {entry.value}:
                continue
            text += f"\n### {short}.{name}\n\n{signature(name, member)}{prose(described(member), links)}\n"
    return text


def described(value: Any) -> str:
    """The docstring of a thing itself; a constant has that of its value, which says nothing."""
    if not (inspect.isclass(value) or callable(value) or isinstance(value, property)):
        return f"The constant `{value!r}`."
    return inspect.getdoc(value) or ""


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that tau defines, those of parents too, each as it was written."""
    for name in sorted(dir(cls)):
        if name.startswith("_"):
            continue
        member = inspect.getattr_static(cls, name)
        member = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        function = member.fget if isinstance(member, property) else member
        ours = (getattr(function, "__module__", None) or "").startswith("tau")
        called = inspect.isfunction(member) or isinstance(member, property)
        if ours and called and inspect.getdoc(member):
            yield name, member


def describer(cls: type, name: str) -> type:
    """The class, of this one and those above it, in which the docstring of a member stands."""
    return next((one for one in cls.__mro__ if getattr(vars(one).get(name), "__doc__", None)), cls)


def signature(name: str, value: Any) -> str:
    """A call as a program would write it, in a block; nothing for what is not called."""
    if isinstance(value, property) or not callable(value) or is_error(value) or is_enum(value):
        return ""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    written = list(shown(found))
    result = "" if found.return_annotation in (found.empty, None, "None") else f" -> {plain(found.return_annotation)}"
    line = f"{name.rpartition('.')[2]}({', '.join(written)}){result}"
    if len(line) > 88:
        line = f"{name.rpartition('.')[2]}(\n    " + ",\n    ".join(written) + f",\n){result}"
    return f"```python\n{line}\n```\n\n"


def shown(found: inspect.Signature) -> Iterator[str]:
    """The parameters but for ``self``, with the marks of those that are given by position or by keyword alone."""
    starred = False
    for number, one in enumerate(found.parameters.values()):
        if number == 0 and one.name in ("self", "cls"):
            continue
        if one.kind is one.KEYWORD_ONLY and not starred:
            yield "*"
            starred = True
        starred = starred or one.kind is one.VAR_POSITIONAL
        mark = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        hint = "" if one.annotation is one.empty else f": {plain(one.annotation)}"
        default = "" if one.default is one.empty else f"{' = ' if hint else '='}{default_of(one.default)}"
        yield f"{mark}{one.name}{hint}{default}"


def plain(hint: Any) -> str:
    text = hint.strip("'") if isinstance(hint, str) else inspect.formatannotation(hint)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", text)


def default_of(value: Any) -> str:
    text = value.__name__ if inspect.isclass(value) or inspect.isfunction(value) else repr(value)
    if isinstance(value, tuple) and value:
        text = (
            f"({', '.join(map(default_of, value))},)" if len(value) == 1 else f"({', '.join(map(default_of, value))})"
        )
    return "..." if text.startswith("<") else text.replace("'", '"')


def is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, BaseException)


def is_enum(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, enum.Enum)


def prose(text: str, links: dict[str, str]) -> str:
    """A docstring as Markdown: blocks after ``::`` and sessions of Python are fenced, public names are links."""
    parts: list[str] = []
    literal = False
    for paragraph in re.split(r"\n\n(?! )|\n\n(?= )", text):
        if literal and paragraph.startswith(" "):
            parts.append(f"```text\n{textwrap.dedent(paragraph)}\n```")
            continue
        literal = paragraph.rstrip().endswith("::")
        if paragraph.lstrip().startswith(">>>"):
            parts.append(f"```python\n{textwrap.dedent(paragraph)}\n```")
        elif paragraph.strip() != "::":
            parts.append(linked(re.sub(r"::\s*$", ":", paragraph), links))
    return "\n\n".join(parts)


def linked(text: str, links: dict[str, str]) -> str:
    def link(found: re.Match[str]) -> str:
        return f"[`{found[1]}`]({links[found[1]]})" if found[1] in links else found[0]

    return re.sub(r"(?<!`)`(\w+)`(?!`)", link, text)
