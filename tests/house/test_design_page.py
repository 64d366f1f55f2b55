"""Section 8 of docs/design.md draws the house as it is, and names the order in which its parts import each other."""

from __future__ import annotations

import re

from house_source import MODULES, PACKAGE, ROOT
from test_imports import AGAINST_THE_ORDER, LAYERS

SECTION = (ROOT / "docs" / "design.md").read_text("utf-8").partition("## 8. ")[2].partition("\n## ")[0]


def drawn() -> dict[str, set[str]]:
    """The files of each folder, as the page draws them: ``folder/  file file``, then lines that go on."""
    block = re.findall(r"```text\nsrc/tau/\n(.*?)```", SECTION, re.DOTALL)
    assert len(block) == 1, "section 8 holds one drawing, which begins with src/tau/"
    found: dict[str, set[str]] = {}
    folder = ""
    for line in block[0].splitlines():
        first, *rest = line.split()
        if first.endswith("/"):
            folder = first.rstrip("/").removeprefix(".")
            found[folder] = set()
        else:
            rest = [first, *rest]
        found[folder].update(rest)
    return found


def built() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in MODULES.values():
        folder = path.parent.relative_to(PACKAGE).as_posix().removeprefix(".")
        files = found.setdefault(folder, set())
        if path.name != "__init__.py" or not folder:
            files.add(path.stem)
    return found


def test_the_page_draws_the_house_as_it_is() -> None:
    assert drawn() == built()


def test_the_page_names_the_order_of_imports() -> None:
    named = [name for name in LAYERS if name and not name.startswith(("cli.", "__"))]
    assert " <- ".join(named) in " ".join(SECTION.split())


def test_the_page_names_each_import_against_the_order() -> None:
    text = " ".join(SECTION.split())
    missing = [pair for pair in AGAINST_THE_ORDER if f"`{pair[0][4:]}` -> `{pair[1][4:]}`" not in text]
    assert not missing
