"""The tables of docs/command-json.md that say what a JSON document holds, and whether one does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

PAGE = Path(__file__).parents[2] / "docs" / "command-json.md"
LINK = re.compile(r"\[[^\]]*\]\(#([\w-]+)\)")
PLAIN: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
    "any": lambda value: True,
}


class Field(Struct, frozen=True):
    """One field: what it may be, each as it stands on the page, and the kinds of entries that have it, if not all."""

    name: str
    types: tuple[str, ...]
    optional: bool
    kinds: tuple[str, ...]


def tables() -> dict[str, list[Field]]:
    """Every table of the page, by the anchor of its heading."""
    found = {}
    for part in PAGE.read_text("utf-8").split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found[anchor] = [field for line in body.splitlines() if line.startswith("| `") for field in fields(line)]
    return found


def fields(line: str) -> Iterator[Field]:
    names, kind, meaning = (cell.strip() for cell in line.strip("|").split(" | "))
    kinds = re.match(r"\(([`\w, ]+)\)", meaning)
    types = kind.removesuffix(", optional")
    for name in re.findall(r"`(\w+)`", names):
        of = tuple(re.findall(r"\w+", kinds[1])) if kinds else ()
        yield Field(name, tuple(types.split(" or ")), types != kind, of)


class Tables:
    """Holds documents against the tables, and notes what was seen of them."""

    def __init__(self) -> None:
        self.tables = tables()
        self.tables["tau-show"] = [*self.tables["tau-runs"], *self.tables["tau-show"]]
        self.seen: set[tuple[str, str, str]] = set()

    def check(self, table: str, document: Any) -> None:
        """The document has the fields of the table, no others, and each of a type that stands there."""
        assert type(document) is dict, f"{table}: {document!r}"
        kind = document.get("kind")
        known = {one.name: one for one in self.tables[table] if not one.kinds or kind in one.kinds}
        assert document.keys() <= known.keys(), f"{table}: {document.keys() - known.keys()} of {kind} not on the page"
        for name, field in known.items():
            if name in document:
                written = self._type_of(table, field, document[name])
                if document[name] not in ([], {}):  # an empty one shows nothing
                    self.seen.add((table, name, written))
            else:
                assert field.optional, f"{table}: {kind} has no {name}"
            if field.optional:
                self.seen.add((table, name, "present" if name in document else "absent"))

    def _type_of(self, table: str, field: Field, value: Any) -> str:
        for written in field.types:
            if self._fits(written, value):
                return written
        raise AssertionError(f"{table}.{field.name} is {value!r}, and the page says {' or '.join(field.types)}")

    def _fits(self, written: str, value: Any) -> bool:
        if written.startswith("array of "):
            return type(value) is list and all(self._fits(written.removeprefix("array of "), one) for one in value)
        if written.startswith("object of "):
            return type(value) is dict and all(self._fits(written[10:], one) for one in value.values())
        if written == "array":
            return type(value) is list and len(value) == 2 and all(type(one) is str for one in value)
        link = LINK.fullmatch(written)
        if link is None:
            return PLAIN[written](value)
        if type(value) is dict:
            self.check(link[1], value)
        return type(value) is dict

    def unseen(self) -> set[tuple[str, str, str]]:
        """What the page says may be there and no document had."""
        said = set()
        for table, listed in self.tables.items():
            for field in listed:
                said |= {(table, field.name, written) for written in field.types}
                said |= {(table, field.name, how) for how in ("present", "absent") if field.optional}
        return said - self.seen
