"""Every public error stands in docs/troubleshooting.md with the text that it really has."""

from __future__ import annotations

import re
from pathlib import Path

import errors_by_name
import pytest
from following import normal
from house_source import ROOT

import tau
import tau.agents

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
# Those that something raises: `dir` leaves out what belongs to a part that is not there.
ERRORS = sorted(name for name in dir(tau) if name.endswith("Error"))


def under(heading: str) -> str:
    """What the page says below a heading."""
    found = re.search(rf"^### {heading}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/troubleshooting.md has no heading '### {heading}'"
    return found[1]


def test_a_program_meets_each_public_error() -> None:
    assert sorted(errors_by_name.PROGRAMS) == ERRORS, (
        "an error has a program in tests/house/errors_by_name.py, and a heading on the page"
    )


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_has_the_text_that_the_page_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tau.TauError) as caught:
        errors_by_name.PROGRAMS[name]()
    assert type(caught.value).__name__ == name
    shown = re.search(r"^```text\n(.*?)^```$", under(name), re.MULTILINE | re.DOTALL)
    assert shown, f"the page shows no text of {name}"
    expected, found = (" ".join(normal(text).split()) for text in (shown[1], str(caught.value)))
    assert re.fullmatch(".*".join(map(re.escape, expected.split("..."))), found), f"it is now:\n{found}"


def test_an_agent_without_its_server_says_what_the_page_shows() -> None:
    agent = tau.agents.Agent("ollama", "llama3.2:3b", base_url="http://127.0.0.1:9", retry=tau.Retry(attempts=1))
    with pytest.raises(tau.AgentError) as caught:
        agent.chat("How warm was 2024?")
    shown = re.search(r"^```text\n(.*?)\.\.\.\n```$", under("Ollama, or another service, is not reached"), re.M | re.S)
    assert shown
    assert str(caught.value).startswith(shown[1])


@pytest.mark.parametrize("name", ERRORS)
def test_the_page_says_what_to_do_about_an_error(name: str) -> None:
    said = re.sub(r"^```text\n.*?^```$", "", under(name), flags=re.MULTILINE | re.DOTALL)
    assert said.strip()
