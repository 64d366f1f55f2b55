"""The documentation as a site: it is built without a warning, works without a network, and leaves no page out."""

from __future__ import annotations

import fcntl
import inspect
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from house_source import ROOT

import tau
import tau.testing

sys.path.insert(0, str(ROOT / "scripts" / "lib"))

import docs_site
import reference

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "form": "action"}
# Rendered by a script from another host, if a page has one.
FROM_ELSEWHERE = re.compile(r'class="[^"]*\b(mermaid|glightbox|arithmatex)\b')


class Found(HTMLParser):
    """What a page loads, where it links to, and the anchors that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attributes}
        self.anchors |= {named[name] for name in ("id", "name") if name in named}
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif tag in LOADING and LOADING[tag] in named:
            self.loads.append(named[LOADING[tag]])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once for all the processes of a test run."""
    folder = tmp_path_factory.getbasetemp()
    shared = (folder.parent if folder.name.startswith("popen-") else folder) / "docs-site"
    with open(shared.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "site" / "llms-full.txt").exists():  # which is written last
            docs_site.build(shared)
    return shared / "site"


@pytest.fixture(scope="session")
def found(site: Path) -> dict[Path, Found]:
    return {page: read(page) for page in sorted(site.rglob("*.html"))}


def read(page: Path) -> Found:
    parser = Found()
    parser.feed(page.read_text("utf-8"))
    return parser


def pages_of_the_repository() -> Iterator[str]:
    for page in (ROOT / "docs").glob("*.md"):
        yield page.name
    for page in (ROOT / "examples").rglob("README.md"):
        yield f"examples/{page.parent.name}.md"


def test_every_page_is_in_the_site_and_in_its_navigation(site: Path) -> None:
    shown = (site / "index.html").read_text("utf-8")
    for name in pages_of_the_repository():
        address = name.removesuffix("md") + "html"
        assert (site / address).is_file()
        assert f'href="./{address}"' in shown, f"{name} is not in the nav of mkdocs.yml"


def test_a_page_loads_nothing_from_elsewhere(site: Path, found: dict[Path, Found]) -> None:
    for page, inside in found.items():
        foreign = [address for address in inside.loads if re.match(r"[a-z]+:|//", address) and address[:5] != "data:"]
        assert not foreign, page
        assert not FROM_ELSEWHERE.search(page.read_text("utf-8")), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", sheet.read_text("utf-8")), sheet


def test_a_link_leads_to_a_page_and_a_heading_of_the_site_or_was_written_by_us(
    site: Path, found: dict[Path, Found]
) -> None:
    written = (site / "llms-full.txt").read_text("utf-8")
    for page, inside in found.items():
        if page.name == "404.html":
            continue
        for link in inside.links:
            if re.match(r"[a-z]+:|//", link):
                assert link in written, f"{page}: {link}"
                continue
            address, _, anchor = link.partition("#")
            there = (page.parent / unquote(address)).resolve() if address not in ("", ".") else page
            there = there / "index.html" if there.is_dir() else there
            assert there.is_file(), f"{page}: {link}"
            assert not anchor or unquote(anchor) in found[there].anchors, f"{page}: {link}"


def test_no_bar_of_a_table_is_shown_with_the_backslash_before_it(site: Path) -> None:
    """Where a page escapes a bar in code, GitHub shows the bar alone, and the site both."""
    for page in site.rglob("*.html"):
        assert not re.search(r"<td>(?:(?!</td>).)*\\\|", page.read_text("utf-8")), page


def test_programs_that_read_get_every_page(site: Path) -> None:
    index, whole = ((site / name).read_text("utf-8") for name in ("llms.txt", "llms-full.txt"))
    assert index.startswith("# tau\n\n> State graphs")
    for name in pages_of_the_repository():
        assert re.search(rf"^- \[[^]]+\]\({re.escape(name)}\): \S+", index, re.MULTILINE), name
        assert (site / name).read_text("utf-8").strip() in whole


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(reference.pages().values())
    for name in tau.__all__:
        if hasattr(tau, name) and not inspect.ismodule(getattr(tau, name)) and name != "__version__":
            assert f"\n## tau.{name}\n" in text, name
    for module in (tau.testing, tau.observers):
        for name in module.__all__:
            assert re.search(rf"\n## tau(\.\w+)*\.{name}\n", text), name
    assert "\n### StateGraph.execute\n" in text
    assert "\n### Store.commit\n" in text


def test_a_method_is_described_where_its_docstring_stands() -> None:
    stores = reference.pages()["stores.md"]
    assert "\n### FileStore.lease\n" not in stores
    assert "Also what [`Store`](stores.md#taustorescontractstore) has." in stores


def test_the_reference_links_the_names_that_a_docstring_mentions() -> None:
    assert "[`CheckpointNotFoundError`](errors.md#taucheckpointnotfounderror)" in reference.pages()["graphs.md"]


def test_a_page_that_is_missing_in_the_nav_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = docs_site.configuration()
    config["nav"] = [section for section in config["nav"] if "How-to" not in section]
    monkeypatch.setattr(docs_site, "configuration", lambda: config)
    with pytest.raises(docs_site.Failure, match=r"not in the nav of mkdocs\.yml: .*hpc\.md"):
        docs_site.build(tmp_path)


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    page = ROOT / "docs" / "hpc.md"
    with pytest.raises(docs_site.Failure, match=r"docs/hpc\.md links to "):
        docs_site.linked("hpc.md", page, {}, tmp_path)


def test_the_builder_stops_at_a_warning(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# One\n\n[two](two.md)\n", "utf-8")
    (tmp_path / "mkdocs.yml").write_text("site_name: one\n", "utf-8")
    with pytest.raises(docs_site.Failure, match="page does not exist"):
        docs_site.make(tmp_path)
