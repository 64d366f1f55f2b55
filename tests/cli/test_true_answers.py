"""What the command says of a run is true, and the ways on that it names lead on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from cli_shell import Here, Shell

from tau import CheckpointNotFoundError, RunExistsError, RunFinishedError, StateGraph, open_store

GRAPH = "pipeline.py:graph"

STEPS = """
import os, pathlib
from tau import CheckpointConfig, GraphConfig, StateGraph

graph = StateGraph("steps")

@graph.node
def ingest(state, ctx):
    with ctx.artifact("raw.csv") as path:
        path.write_text("1")

@graph.node
def work(state, ctx):
    ctx.step("a", int, 1)
    ctx.step("b", int, 2)
    if os.path.exists("second signal"):
        from tau.engine.stop import StopNow
        raise StopNow("second signal: SIGTERM")
    raise ValueError("bad sensor")

graph.sequence(ingest, work)

short = StateGraph(GraphConfig("short", observer=None, checkpoint=CheckpointConfig("file:runs", interval=1)))
short.sequence(ingest)
"""


def test_a_run_that_was_deleted_by_hand_is_not_said_to_have_finished(shell: Shell, here: Here, store: str) -> None:
    shell.write("broken", "")
    here("run", GRAPH, "--run-id", "b", "--store", store, code=1)
    here("delete", "b", "--yes", "--keep-summary", "--store", store)
    for verb in ("show", "history"):
        said = here(verb, "b", "--store", store).err
        assert "its checkpoints were deleted; only its summary was kept" in said
        assert "finished" not in said
    for read in (StateGraph("climate", store=store).history, open_store(store).load):
        with pytest.raises(CheckpointNotFoundError, match="only its summary was kept") as caught:
            read("b")
        assert not isinstance(caught.value, RunFinishedError)


def test_no_way_on_is_named_that_a_cancelled_run_refuses(shell: Shell, here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "c", "--store", store, "--max-runtime", "0", code=75)
    here("cancel", "c", "--store", store)
    said = here("run", GRAPH, "--run-id", "c", "--store", store, code=4).err
    assert "already exists: it is cancelled, so it cannot be resumed" in said
    assert "resume " not in said
    assert "tau delete --store " in said
    said = here("run", GRAPH, "--run-id", "c", "--if-exists", "resume", "--set", "new=1", "--store", store, code=4).err
    assert "was cancelled" in said


def test_no_way_on_is_named_that_a_finished_run_without_checkpoints_refuses(tmp_path: Path) -> None:
    graph = StateGraph("g", store=tmp_path / "runs.db")
    graph.sequence(lambda_free)
    graph.execute({}, run_id="f")
    graph.store.delete("f", keep_summary=True)
    with pytest.raises(RunExistsError) as caught:
        graph.execute({}, run_id="f")
    assert not caught.value.resumable
    assert "resume" not in str(caught.value)


def lambda_free(state):
    return None


def test_a_finished_run_without_checkpoints_is_told_from_an_unknown_one(shell: Shell, here: Here) -> None:
    shell.write("steps.py", STEPS)
    here("run", "steps.py:short", "--run-id", "f")
    said = here("resume", "f", "steps.py:short", code=3).err
    assert "run 'f' finished at" in said
    assert "to do the work again, use another run id" in said
    assert "tau runs lists" not in said


def test_a_node_that_was_broken_off_is_not_said_to_come_next(shell: Shell, here: Here) -> None:
    shell.write("steps.py", STEPS)
    shell.write("second signal", "")
    said = here("run", "steps.py:graph", "--run-id", "s", code=75).err
    assert "was stopped in node 'work', before that had finished (second signal: SIGTERM)\n" in said
    assert "resume('s')" not in said
    plan = here.json("resume", "s", "steps.py:graph", "--plan")
    why = plan["plan"][1]["why"]
    assert why == "stopped before it had finished (second signal: SIGTERM); 2 finished steps are kept"


def test_a_plan_says_what_becomes_of_finished_steps(shell: Shell, here: Here) -> None:
    shell.write("steps.py", STEPS)
    here("run", "steps.py:graph", "--run-id", "s", code=1)
    for more, word in (((), "kept"), (("--on-change", "redo"), "dropped")):
        plan = here.json("resume", "s", "steps.py:graph", "--plan", *more)
        assert plan["plan"][1]["why"] == f"failed: ValueError: bad sensor; 2 finished steps are {word}"


def test_a_refusal_names_the_node_that_it_is_about_or_none(shell: Shell, here: Here) -> None:
    shell.write("broken", "")
    here("run", GRAPH, "--run-id", "r", code=1)
    text = (shell.folder / "pipeline.py").read_text()
    shell.write("pipeline.py", text.replace("[1, 2, 3]", "[4, 5, 6]"))
    (line,) = refusals(here.json("resume", "r", GRAPH, "--plan", code=4))
    assert (line["node"], line["why"]) == ("ingest", "finished node 'ingest' changed (its code)")
    shell.write("pipeline.py", text.replace("def analyze", "def analyse").replace("analyze", "analyse"))
    found = refusals(here.json("resume", "r", GRAPH, "--plan", code=4))
    assert {line["node"] for line in found} == {"analyze", None}, "None is of the edge to it"
    here("cancel", "r")
    shell.write("pipeline.py", text)
    (line,) = refusals(here.json("resume", "r", GRAPH, "--plan", code=4))
    assert line["node"] is None


def refusals(plan):
    return [line for line in plan["plan"] if line["what"] == "refuse"]


def test_a_plan_for_a_run_that_lacks_a_file_has_the_exit_code_of_the_resume(shell: Shell, here: Here) -> None:
    shell.write("steps.py", STEPS)
    here("run", "steps.py:graph", "--run-id", "s", code=1)
    (artifact,) = here.json("show", "s")["artifacts"]
    Path(artifact["path"]).unlink()
    plan = here.json("resume", "s", "steps.py:graph", "--plan", code=1)
    assert (plan["exit_code"], plan["can_resume"]) == (1, False)
    here("resume", "s", "steps.py:graph", code=1)


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_resume_in_the_wrong_directory_creates_nothing(
    shell: Shell, here: Here, monkeypatch: pytest.MonkeyPatch, store: str, more: tuple[str, ...]
) -> None:
    here("run", GRAPH, "--run-id", "r-1", "--store", store)
    assert "no run 'r1' in" in (said := here("resume", "r1", GRAPH, "--store", store, *more, code=3).err)
    assert "did you mean 'r-1'?" in said
    (shell.folder / "elsewhere").mkdir()
    monkeypatch.chdir(shell.folder / "elsewhere")
    said = here("resume", "r-1", f"../{GRAPH}", "--store", store, *more, code=3).err
    assert said.splitlines()[0].endswith(" (nothing was ever stored there)")
    assert here("show", "r-1", "--store", store, code=3).err.splitlines()[0] == said.splitlines()[0]
    assert not list((shell.folder / "elsewhere").iterdir())


def test_spaces_around_a_name_are_not_part_of_it(here: Here) -> None:
    done = here.json("run", GRAPH, "--set", " factor = 3")
    assert [key["name"] for key in done["keys"]] == ["factor", "raw", "mean", "text"]
    assert "found no name" in here("run", GRAPH, "--set", " =3", code=2).err


def test_a_tag_is_stored_once_and_one_that_is_not_stored_is_noted(here: Here, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--tag", "a", "--tag", "a", "--store", store)
    assert here.json("show", "r", "--store", store)["tags"] == ["a"]
    again = ("run", GRAPH, "--run-id", "r", "--if-exists", "resume", "--store", store)
    assert "--tag b has no effect" in here(*again, "--tag", "b", "--tag", "a").err
    assert "has no effect" not in here(*again, "--tag", "a").err


def test_a_deletion_without_a_yes_prints_its_document(here: Here, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    here("run", GRAPH, "--run-id", "r", "--store", store)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    found = here.json("delete", "r", "--store", store, code=4)
    assert (found["run_id"], found["exit_code"]) == ("r", 4)
    assert found["error"]["message"].startswith("nothing was deleted")


def test_a_graph_that_cannot_run_begins_no_run(shell: Shell, here: Here) -> None:
    shell.write("empty.py", "from tau import StateGraph\ngraph = StateGraph('x')\n")
    found = here("run", "empty.py:graph", "--json", code=2)
    assert "run_id" not in found.out
    assert "error: graph validation failed" in found.err.splitlines()[0]


def test_the_document_of_an_error_names_no_class_that_users_cannot_know(shell: Shell, here: Here) -> None:
    shell.write("steps.py", STEPS)
    shell.write("second signal", "")
    assert "cause" not in here.json("run", "steps.py:graph", code=75)["error"]
    shell.write("stuck.py", "from tau import StateGraph, key_exists\ngraph = StateGraph('x')\n"
                            "@graph.node\ndef a(state): return None\n@graph.node\ndef b(state): return None\n"
                            "graph.add_edge(a, b, key_exists('k'))\ngraph.set_entry_point(a)\n"
                            "graph.set_exit_point(b)\n")  # fmt: skip
    assert "cause" not in here.json("run", "stuck.py:graph", code=1)["error"]
    assert "cause " not in here("run", "stuck.py:graph", code=1).err  # the error has said it


def test_what_is_without_effect_is_noted(here: Here) -> None:
    here("run", GRAPH, "--run-id", "r")
    assert "--every has no effect without --watch" in here("runs", "--every", "1").err
    assert "--values has no effect without --at" in here("history", "r", "--values").err
    assert "has no effect" not in here("history", "r", "--values", "--at", "1").err


def test_no_runs_are_told_from_none_of_that_kind(here: Here) -> None:
    assert "note: there are no runs in " in here("runs").err
    assert "note: no such runs in " in here("runs", "--tag", "x").err
    assert "'x' is not a valid whole number." in here("runs", "--limit", "x", code=2).err


def test_a_second_definition_is_told_once(shell: Shell) -> None:
    shell.write("two.py", "from tau import StateGraph\ngraph = StateGraph('x')\n"
                          "@graph.node\ndef a(state): return None\n@graph.node\ndef a(state): return {'b': 1}\n"
                          "graph.sequence(a)\n")  # fmt: skip
    assert shell.run("graph", "two.py:graph").stderr.count("is defined twice") == 1


def test_a_resume_in_a_loop_names_the_visit(shell: Shell, here: Here) -> None:
    shell.write("loop.py", LOOP)
    here("run", "loop.py:graph", "--run-id", "r", code=1)
    assert "resumes at m (visit 3), after m\n" in here("resume", "r", "loop.py:graph", code=1).err


LOOP = """
from tau import StateGraph
graph = StateGraph("loop")
@graph.node
def m(state):
    n = state.get("n", 0) + 1
    if n == 3:
        raise ValueError("three")
    return {"n": n}
@graph.node
def end(state):
    return None
graph.add_edge(m, end, lambda state: state["n"] == 5)
graph.add_edge(m, m)
graph.set_entry_point(m)
graph.set_exit_point(end)
"""


def test_a_type_is_named_as_it_is_imported(shell: Shell, here: Here) -> None:
    shell.write("steps.py", STEPS)
    here("run", "steps.py:short", "--run-id", "r", "--store", "file:kept")
    here("run", "steps.py:graph", "--run-id", "s", code=1)
    assert [key["type"] for key in here.json("show", "s")["keys"]] == ["tau.Artifact"]


def test_another_seed_for_a_run_that_exists_is_refused_as_another_input_is(here: Here) -> None:
    here("run", GRAPH, "--run-id", "r", "--seed", "7")
    again = ("run", GRAPH, "--run-id", "r", "--if-exists", "resume", "--seed")
    assert "the seed differs" in here(*again, "8", code=4).err
    here(*again, "7")
