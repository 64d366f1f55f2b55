"""`tau runs` and `tau show`: what a store holds, shown exactly and harmlessly."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
import pytest
from cli_shell import Here, Shell
from rich.console import Console

from tau.cli import places
from tau.cli.app import COMMANDS, commands
from tau.cli.output import screen
from tau.cli.targets import Project
from tau.stores import mounts

GRAPH = "pipeline.py:graph"
PAGE = Path(__file__).parents[2] / "docs" / "command.md"
HERE = Path(__file__).parent
ODD = [
    " two  words ",
    "-dash",
    "a/../../b",
    "🦊 ünïcødé",
    "[red]bold[/red]",
    ":boom:",
    "a\tb\nc",
    "\x1b[31mred\u202e",
    "%s",
]

VALUES = """
import decimal, enum
from tau import StateGraph, register_type

@register_type
class Colour(enum.Enum):
    RED = 1

graph = StateGraph("values")

@graph.node
def fill(state):
    return {
        "password": "CANARY-1", "config": {"api_key": "CANARY-2", "hosts": [{"token": "CANARY-3"}], "n": 1},
        "pair": (1, {"secret_word": "CANARY-4"}), "nan": float("nan"), "price": decimal.Decimal("1.10"),
        "big": 10 ** 5000, "text": "\\x1b[31m[bold]x", "long": "y" * 1000, "colour": Colour.RED, "none": None,
        "data": b"\\x00\\xff",
    }

graph.sequence(fill)
"""


def test_odd_run_ids_are_kept_exactly_and_shown_harmlessly(shell: Shell, store: str) -> None:
    for run_id in ODD:
        assert shell.json("run", GRAPH, f"--run-id={run_id}", "--store", store)["run_id"] == run_id
    assert [row["run_id"] for row in shell.json("runs", "--store", store)] == ODD[::-1]
    shown = shell.run("runs", "--store", store).stdout
    for run_id in ODD:
        assert f"\n{screen.clean(run_id)}\t" in shown
    for run_id in ("-dash", "[red]bold[/red]", "\x1b[31mred\u202e"):
        one = shell.run("show", "--store", store, "--", run_id).stdout
        assert one.startswith(f"run       {screen.clean(run_id)}\n")
        shown += one
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", shown)


def test_runs_are_filtered(shell: Shell, store: str) -> None:
    for name in "abc":
        shell.run("run", GRAPH, "--run-id", name, "--store", store, "--tag", f"tag-{name}", "--tag", "all")
    shell.run("run", GRAPH, "--run-id", "d", "--store", store, "--max-runtime", "0", code=75)

    def found(*words: str) -> list[str]:
        return [row["run_id"] for row in shell.json("runs", "--store", store, *words)]

    assert found() == ["d", "c", "b", "a"]
    assert found("--tag", "tag-b") == ["b"]
    assert found("--status", "finished", "--limit", "2") == ["c", "b"]
    assert found("--status", "interrupted", "--graph", "climate") == ["d"]
    assert found("--graph", "weather") == []
    assert shell.run("runs", "--store", store, "--graph", "weather").stdout == ""


def test_without_a_terminal_a_table_has_tabs(shell: Shell) -> None:
    shell.run("run", GRAPH, "--run-id", "r", "--tag", "t")
    head, row = [line.split("\t") for line in shell.run("runs").stdout.splitlines()]
    assert head == ["run", "graph", "status", "node", "visits", "updated", "tags", "items"]
    assert row[:5] == ["r", "climate", "finished", "report", "3"]
    assert row[6] == "t"


def test_looking_creates_nothing(shell: Shell, store: str) -> None:
    before = sorted(shell.folder.iterdir())
    assert shell.json("runs", "--store", store) == []
    assert "nothing was ever stored there" in shell.run("runs", "--store", store).stderr
    assert sorted(shell.folder.iterdir()) == before


def test_show_tells_the_way_and_the_failure(shell: Shell, store: str) -> None:
    shell.write("broken", "")
    shell.run("run", GRAPH, "--run-id", "r", "--store", store, code=1)
    shell.run("resume", "r", GRAPH, "--store", store, code=1)
    found = shell.json("show", "r", "--store", store)
    assert [(visit["node"], visit["visit"], visit["attempt"]) for visit in found["path"]] == [("ingest", 1, 1)]
    assert found["path"][0]["duration_seconds"] >= 0
    assert (found["status"], found["next"], found["resumed"]) == ("failed", "analyze", 1)
    failure = found["failure"]
    assert (failure["node"], failure["type"], failure["message"]) == ("analyze", "ValueError", "bad sensor")
    assert failure["frames"][-1]["function"] == "analyze"
    shown = shell.run("show", "r", "--store", store).stdout
    assert re.search(r"^ValueError: bad sensor\n(  .*\n)*  .*pipeline\.py:\d+ in analyze$", shown, re.MULTILINE)
    assert re.search(r"^failed at +analyze \(attempt 2\)$", shown, re.MULTILINE)
    assert re.search(r"^raw\tlist\t4 B$", shown, re.MULTILINE)
    shell.remove("broken")
    shell.run("resume", "r", GRAPH, "--store", store)
    found = shell.json("show", "r", "--store", store)
    assert found["failure"] is None
    assert [visit["node"] for visit in found["path"]] == ["ingest", "analyze", "report"]
    assert found["provenance"]["python"]


def test_a_run_in_progress_names_its_owner(shell: Shell, store: str) -> None:
    with shell.held("run", GRAPH, "--run-id", "r", "--store", store) as run:
        found = shell.json("show", "r", "--store", store)
        assert (found["status"], found["next"]) == ("running", "analyze")
        assert f"pid {run.process.pid} " in found["owner"]
        run.process.kill()
        run.end()
    assert shell.json("show", "r", "--store", store)["status"] == "dead"


def test_values_are_shown_on_demand_without_secrets(shell: Shell, store: str) -> None:
    shell.write("values.py", VALUES)
    shell.run("run", "values.py:graph", "--run-id", "r", "--store", store)
    assert "yyy" not in shell.run("show", "r", "--store", store).stdout
    shown = shell.run("show", "r", "--store", store, "--values").stdout
    done = shell.run("show", "r", "--store", store, "--values", "--json").stdout
    assert "CANARY" not in shown + done
    assert "\x1b" not in shown
    assert "(1002 characters)" in shown
    keys = {key["name"]: key for key in shell.json("show", "r", "--store", store, "--values")["keys"]}
    assert keys["password"]["value"] == "[redacted]"
    assert keys["config"]["value"] == {"api_key": "[redacted]", "hosts": [{"token": "[redacted]"}], "n": 1}
    assert keys["pair"]["repr"] == "(1, {'secret_word': '[redacted]'})"
    assert keys["nan"]["repr"] == "nan"
    assert (keys["price"]["type"], keys["price"]["repr"]) == ("decimal.Decimal", "Decimal('1.10')")
    assert keys["big"]["repr"] == "<int that cannot be shown: ValueError>"
    assert keys["text"]["value"] == "\x1b[31m[bold]x"
    assert keys["long"]["size_bytes"] > 1000
    assert keys["none"]["value"] is None
    assert keys["colour"]["type"] == "not known here"
    assert "Colour" in keys["colour"]["problem"]


def test_a_run_whose_checkpoints_are_gone_is_still_shown(shell: Shell, store: str) -> None:
    text = (shell.folder / "pipeline.py").read_text()
    text = text.replace('StateGraph("climate")', 'StateGraph(GraphConfig("climate", observer=None, checkpoint=KEEP))')
    keep = f"from tau import CheckpointConfig, GraphConfig\nKEEP = CheckpointConfig(store={store!r}, interval=1)\n"
    shell.write("pipeline.py", keep + text)
    shell.run("run", GRAPH, "--run-id", "r")
    assert "checkpoints were deleted" in shell.run("show", "r", "--store", store).stderr
    found = shell.json("show", "r", "--store", store)
    assert (found["status"], found["checkpoints"], found["path"]) == ("finished", False, [])
    assert "checkpoints were deleted" in shell.error("resume", "r", GRAPH, code=3)


def test_only_the_newest_visits_of_a_long_run_are_listed(shell: Shell) -> None:
    shell.write(
        "loop.py",
        "from tau import StateGraph\ngraph = StateGraph('loop')\n"
        "@graph.node\ndef step(state):\n    return {'n': state.get('n', 0) + 1}\n"
        "@graph.node\ndef end(state):\n    return None\n"
        "graph.add_edge(step, end, lambda state: state['n'] == 70)\ngraph.add_edge(step, step)\n"
        "graph.set_entry_point(step)\ngraph.set_exit_point(end)\n",
    )
    assert "step" in shell.run("run", "loop.py:graph", "--run-id", "r").stderr
    done = shell.run("show", "r")
    assert "the first 21 visits are left out" in done.stderr
    assert re.findall(r"^step\t(\d+)", done.stdout, re.MULTILINE) == [str(n) for n in range(22, 71)]
    assert len(shell.json("show", "r")["path"]) == 71


def test_on_a_terminal_names_are_text_and_not_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True, width=60, color_system=None, markup=False, emoji=False, highlight=False)
    monkeypatch.setattr(screen, "console", lambda _stream=None: console)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with console.capture() as capture:
        screen.table(["run"], [["[red]:boom:[/red]"], ["\x1b[2J\u202e"]])
        screen.line(("[bold]x[/bold]", "red"), " \x07")
    shown = capture.get()
    assert "[red]:boom:[/red]" in shown
    assert "\\x1b[2J\\u202e" in shown
    assert "[bold]x[/bold]" in shown
    assert "\\x07" in shown


def test_on_a_network_file_system_the_default_is_the_file_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(places.VARIABLE, raising=False)
    monkeypatch.setattr(mounts, "kind_of", lambda _path: "nfs4")
    assert places.default_url(Project()) == "file:tau-runs"
    monkeypatch.setattr(mounts, "kind_of", lambda _path: "ext4")
    assert places.default_url(Project()) == "sqlite:///tau.db"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.00 ms"), (0.00006, "0.06 ms"), (0.25, "250 ms"), (0.9996, "1.0 s"), (59.94, "59.9 s"), (59.96, "1 min 0 s"),
     (185, "3 min 5 s"), (7800, "2 h 10 min"), (273600, "3 d 4 h")],
)  # fmt: skip
def test_durations_are_readable(seconds: float, shown: str) -> None:
    assert screen.duration(seconds) == shown


@pytest.mark.parametrize(("count", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (11_500_000, "11.5 MB")])
def test_sizes_are_readable(count: int, shown: str) -> None:
    assert screen.size(count) == shown


def test_the_version_is_that_of_the_distribution(shell: Shell) -> None:
    assert re.fullmatch(r"tau \S+\n", shell.run("--version").stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example_in_its_help(here: Here, name: str) -> None:
    said = here(name, "--help").out
    assert re.search(rf"^  Examples?:\n    tau {name} ", said, re.MULTILINE), said


def test_every_command_and_option_is_on_the_page_and_in_a_test() -> None:
    page = PAGE.read_text("utf-8")
    tests = "".join(path.read_text("utf-8") for path in HERE.glob("test_*.py"))
    for name, command in commands().items():
        heading = next((line for line in page.splitlines() if line.startswith(f"## `tau {name}")), None)
        assert heading, f"docs/command.md has no section for tau {name}"
        section = page.partition(heading)[2].partition("\n## ")[0]
        assert f'"{name}"' in tests
        for option in command.params:
            if isinstance(option, click.Option):
                for word in option.opts:
                    assert f"`{word}" in section, f"docs/command.md does not explain {word} of tau {name}"
                    assert f'"{word}"' in tests or f'"{word}=' in tests, f"no test uses {word}"


def test_show_tells_which_surroundings_changed_at_which_resume(shell: Shell, store: str) -> None:
    shell.write("pipeline.py", "import solver\n" + (shell.folder / "pipeline.py").read_text())
    shell.write("broken", "")

    def work(version: str, *words: str) -> None:
        shutil.rmtree(shell.folder / "__pycache__", ignore_errors=True)  # of the same second and size, it would count
        shell.write("solver.py", f"__version__ = {version!r}\n")
        shell.run(*words, "--store", store, code=1)

    work("1.0", "run", GRAPH, "--run-id", "r")
    assert shell.json("show", "r", "--store", store)["provenance_changes"] == []
    assert "before" not in shell.run("show", "r", "--store", store).stdout
    for version in ("2.0", "2.0", "10.0"):
        work(version, "resume", "r", GRAPH)
    found = shell.json("show", "r", "--store", store)
    assert found["provenance"]["package.solver"] == "1.0"
    log = shell.json("history", "r", "--store", store)["entries"]
    claims = [entry for entry in log if entry["kind"] == "claimed"]
    assert [entry["provenance"].get("package.solver") for entry in claims] == [None, "2.0", None, "10.0"]
    assert found["provenance_changes"] == [
        {"resume": number, "seq": claims[number]["seq"], "time": claims[number]["time"], "changes": changes}
        for number, changes in ((1, {"package.solver": ["1.0", "2.0"]}), (3, {"package.solver": ["2.0", "10.0"]}))
    ]
    shown = shell.run("show", "r", "--store", store).stdout
    assert f"\n1\t{claims[1]['seq']}\tsolver\t1.0\t2.0\n3\t{claims[3]['seq']}\tsolver\t2.0\t10.0\n" in shown


def test_show_tells_of_retries(shell: Shell, store: str) -> None:
    text = (shell.folder / "pipeline.py").read_text()
    decorated = "@graph.node(retry=tau.Retry(attempts=2, delay=0))\ndef analyze"
    shell.write("pipeline.py", "import tau\n" + text.replace("@graph.node\ndef analyze", decorated))
    shell.write("broken", "")
    said = shell.run("run", GRAPH, "--run-id", "r", "--store", store, code=1).stderr
    assert said.count("is tried again in 0 s: ValueError: bad sensor") == 1
    assert re.search(
        r"^failed at +analyze \(attempt 2\)$", shell.run("show", "r", "--store", store).stdout, re.MULTILINE
    )
    assert shell.json("show", "r", "--store", store)["failure"]["attempt"] == 2
    shell.run("run", GRAPH, "--run-id", "s", "--max-runtime", "0", "--store", store, code=75)
    assert re.search(r"^stopped +max_runtime$", shell.run("show", "s", "--store", store).stdout, re.MULTILINE)


def test_the_help_says_of_each_command_what_its_own_help_does() -> None:
    """It loads none of them."""
    own = {name: command.get_short_help_str(200) for name, command in commands().items()}
    assert own == COMMANDS
