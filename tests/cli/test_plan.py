"""`tau resume --plan`: what would be skipped, run and refused, and why; nothing is touched."""

from __future__ import annotations

from typing import Any

from cli_shell import Here, Shell

GRAPH = "pipeline.py:graph"

LOOP = """
from tau import StateGraph
graph = StateGraph("loop")
@graph.node
def step(state):
    n = state.get("n", 0) + 1
    if n == 4 and state.get("fails"):
        raise ValueError("four")
    return {"n": n}
@graph.node
def end(state):
    return None
graph.add_edge(step, end, lambda state: state["n"] == 5)
graph.add_edge(step, step)
graph.set_entry_point(step)
graph.set_exit_point(end)
"""


def lines(plan: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(line["what"], line["node"]) for line in plan["plan"]]


def obstacles(plan: dict[str, Any]) -> str:
    return "; ".join(line["why"] for line in plan["plan"] if line["what"] == "refuse")


def test_after_a_failure_it_names_what_is_skipped_and_what_runs(shell: Shell, here: Here, store: str) -> None:
    shell.write("broken", "")
    here("run", GRAPH, "--run-id", "r", "--store", store, code=1)
    before = here("history", "r", "--store", store).out
    plan = here.json("resume", "r", GRAPH, "--plan", "--store", store)
    assert lines(plan) == [("skip", "ingest"), ("run", "analyze"), ("then", "report")]
    assert (plan["can_resume"], plan["status"], plan["exit_code"]) == (True, "failed", 0)
    assert plan["plan"][1]["why"] == "failed: ValueError: bad sensor"
    said = here("resume", "r", GRAPH, "--plan", "--store", store)
    assert "resume    continues at analyze\n" in said.out
    assert "then\treport\tnot reached yet\n" in said.out
    assert here("history", "r", "--store", store).out == before
    assert shell.calls == ["ingest", "analyze"]


def test_an_owned_run_is_planned_without_being_claimed(shell: Shell, here: Here, store: str) -> None:
    with shell.held("run", GRAPH, "--run-id", "r", "--store", store) as run:
        plan = here.json("resume", "r", GRAPH, "--plan", "--store", store, code=4)
        assert lines(plan) == [("skip", "ingest"), ("refuse", None)]
        assert f"run 'r' is owned by pid {run.process.pid} " in plan["plan"][1]["why"]
        said = here("resume", "r", GRAPH, "--plan", "--store", store, code=4)
        assert "resume    refused\n" in said.out
        wait = "60, or more," if store.startswith("file:") else "SECONDS"  # there a lease can only be watched
        assert f"  remedy  --wait {wait} waits for its owner" in said.out
        run.process.kill()
        run.end()
        plan = here.json("resume", "r", GRAPH, "--plan", "--store", store)
        assert lines(plan) == [("skip", "ingest"), ("run", "analyze"), ("then", "report")]
        assert plan["plan"][1]["why"] == "its process ended before it did"


def test_a_changed_graph_is_refused_and_says_why(shell: Shell, here: Here) -> None:
    shell.write("broken", "")
    here("run", GRAPH, "--run-id", "r", code=1)
    text = (shell.folder / "pipeline.py").read_text()
    shell.write("pipeline.py", text.replace("[1, 2, 3]", "[4, 5, 6]").replace('"mean {', '"the mean {'))
    plan = here.json("resume", "r", GRAPH, "--plan", code=4)
    assert "finished node 'ingest' changed (its code)" in obstacles(plan)
    assert plan["notes"] == ["node 'report', not run yet, changed"]
    plan = here.json("resume", "r", GRAPH, "--plan", "--on-change", "continue")
    assert plan["can_resume"] is True
    assert len(plan["notes"]) == 2
    shell.write("pipeline.py", text.replace("def analyze", "def analyse").replace("analyze", "analyse"))
    plan = here.json("resume", "r", GRAPH, "--plan", "--on-change", "continue", code=4)
    assert "the node to run next, 'analyze', is gone" in obstacles(plan)


def test_a_loop_may_be_visited_again(shell: Shell, here: Here) -> None:
    shell.write("loop.py", LOOP)
    here("run", "loop.py:graph", "--run-id", "r", "--set", "fails=true", code=1)
    plan = here.json("resume", "r", "loop.py:graph", "--plan")
    assert lines(plan) == [("skip", "step"), ("run", "step"), ("then", "end"), ("then", "step")]
    assert plan["plan"][0]["why"].startswith("3 visits, ")
    assert plan["plan"][3]["why"] == "may be visited again"


def test_a_finished_a_cancelled_and_a_stopped_run(shell: Shell, here: Here) -> None:
    here("run", GRAPH, "--run-id", "done")
    plan = here.json("resume", "done", GRAPH, "--plan")
    assert lines(plan) == [("skip", "ingest"), ("skip", "analyze"), ("skip", "report")]
    assert "returns the stored result" in here("resume", "done", GRAPH, "--plan").out
    here("run", GRAPH, "--run-id", "stopped", "--max-runtime", "0", code=75)
    plan = here.json("resume", "stopped", GRAPH, "--plan")
    assert plan["plan"][0]["why"] == "stopped before it (max_runtime)"
    here("cancel", "stopped")
    plan = here.json("resume", "stopped", GRAPH, "--plan", code=4)
    assert "was cancelled" in plan["plan"][-1]["why"]


def test_a_plan_for_a_run_that_is_not_there_creates_nothing(shell: Shell, here: Here, store: str) -> None:
    before = sorted(shell.folder.iterdir())
    assert "nothing was ever stored there" in here("resume", "r", GRAPH, "--plan", "--store", store, code=3).err
    assert sorted(shell.folder.iterdir()) == before


def test_a_run_of_another_graph_is_offered_no_way_to_take_it_for_this_one(shell: Shell, here: Here, store: str) -> None:
    shell.write("loop.py", LOOP)
    here("run", GRAPH, "--run-id", "r", "--store", store)
    for more in ([], ["--on-change", "continue"], ["--plan"], ["--plan", "--on-change", "redo"]):
        said = here("resume", "r", "loop.py:graph", "--store", store, *more, code=4)
        assert "this graph is 'loop'" in said.out + said.err
        assert "--on-change" not in said.out + said.err
