"""Nothing on a page goes untested: Python runs, `tau` commands run, other commands exist, links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from following import follow
from house_source import ROOT
from pages import PAGES, blocks, commands, python_program, saved_files
from running import TAU, run, run_page

LANGUAGES = {"python", "sh", "json", "toml", "sql", "text", "mermaid", "html"}
# Programs that a reader has or installs, and that the tests must not start.
PROGRAMS = {
    "git",
    "cat",
    "cd",
    "conda",
    "cp",
    "mkdir",
    "pip",
    "sed",
    "uv",
    "python",
    "python3",
    ".",
    "sbatch",
    "squeue",
}
# Read from top to bottom, doing what they say; the blocks of other pages share one Python file instead.
FOLLOWED = {"README.md", "CONTRIBUTING.md", "docs/tutorial.md", "docs/code-changes.md"}
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
OWN = [
    page for page in PAGES if not page.is_relative_to(ROOT / "examples") and str(page.relative_to(ROOT)) not in FOLLOWED
]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_names_a_language_that_we_know_how_to_test(page: Path) -> None:
    wrong = [(block.line, block.language) for block in blocks(page) if block.language not in LANGUAGES]
    assert not wrong, f"one of {sorted(LANGUAGES)}; `text` is for output and sketches"
    assert page.read_text("utf-8").count("```") == 2 * len(blocks(page)), "a fence that is not closed"


@pytest.mark.parametrize("page", OWN, ids=lambda page: page.name)
def test_the_python_and_then_the_tau_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", OWN, ids=lambda page: page.name)
def test_a_page_whose_program_cannot_be_started_twice_says_so(page: Path) -> None:
    program = python_program(page)
    runs = re.findall(r"\bexecute\(.*\brun_id=\"[^)]*\)", program)
    used_up = any("if_exists" not in one for one in runs) and re.search(r"store=\"(sqlite|file):", program)
    assert not used_up or "a second time" in page.read_text("utf-8"), "say which file to delete before the next time"


@pytest.mark.parametrize("name", sorted(FOLLOWED))
def test_a_page_that_is_followed_shows_what_it_says(name: str, tmp_path: Path) -> None:
    follow(ROOT / name, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_command_on_a_page_exists(page: Path) -> None:
    for command in commands(page):
        name = next(word for word in shlex.split(command) if not re.fullmatch(r"\w+=.*", word))
        if "/" in name:
            assert os.access(ROOT / name, os.X_OK), f"{command}: no such script"
        else:
            assert name in PROGRAMS or name == "tau", f"{command}: {name} is not among {sorted(PROGRAMS)}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_link_to_a_file_leads_to_it(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{target} is not there"
        assert not heading or heading in headings(there), f"{there.name} has no heading #{heading}"


def headings(page: Path) -> set[str]:
    """The anchors that a renderer makes of the headings: lower case, punctuation dropped, spaces as hyphens."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_test_that_a_page_names_exists(page: Path) -> None:
    """A promise is only as good as the test beside it."""
    for path, name in re.findall(r"`(tests/[\w/.]+?)(?:::(\w+))?`", page.read_text("utf-8")):
        assert (ROOT / path).exists(), f"{path} is not there"
        if name:
            assert re.search(rf"\b{name}\b", (ROOT / path).read_text("utf-8")), f"{path} has no {name}"


def test_every_example_runs_and_has_fewer_than_100_lines(tmp_path: Path) -> None:
    for example in sorted((ROOT / "examples").glob("*.py")):
        assert len(example.read_text("utf-8").splitlines()) < 100, example.name
        folder = tmp_path / example.stem
        folder.mkdir()
        run(folder, sys.executable, str(example))


def test_the_readme_has_the_two_commands_of_a_checkout() -> None:
    assert "scripts/demo\nscripts/test\n" in [b.text for b in blocks(ROOT / "README.md") if b.language == "sh"]


def test_the_readme_shows_a_pipeline_in_twelve_lines() -> None:
    pipeline = next(block for block in blocks(ROOT / "README.md") if block.language == "python")
    assert sum(1 for line in pipeline.text.splitlines() if line.strip()) <= 12


def test_the_files_of_the_readme_can_be_imported_without_running(tmp_path: Path) -> None:
    for name, text in saved_files(ROOT / "README.md"):
        (tmp_path / name).write_text(text, "utf-8")
        run(tmp_path, sys.executable, "-c", TAU, "graph", f"{name}:graph")
    assert not list(tmp_path.glob("tau.db*"))


def test_the_words_about_network_mounts_are_the_store_s_own() -> None:
    said = re.search(r"it is on a network file system \(nfs\)(.*)\n", (ROOT / "README.md").read_text("utf-8"))
    assert said is not None
    source = (ROOT / "src/tau/stores/sqlite/connections.py").read_text("utf-8")
    for words in (", where SQLite locks up or ", "corrupts; use a file store (file:", "), or a path on a local disk"):
        assert words in source
        assert words in said[1]


def test_the_changelog_has_a_section_for_what_is_not_released() -> None:
    assert "\n## Unreleased\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["design", "format", "stores", "track-record", "values"])
def test_a_page_that_readers_are_sent_to_is_there(name: str) -> None:
    assert (ROOT / "docs" / f"{name}.md").is_file()


def test_the_command_is_the_one_that_the_distribution_installs(tmp_path: Path) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    assert scripts == {"tau": "tau.cli:main"}
    run(tmp_path, sys.executable, "-c", TAU, "--help")
