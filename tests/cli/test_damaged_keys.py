"""Commands on a Redis store where the keys of single runs are damaged: the others are shown, and those as damaged."""

from __future__ import annotations

import pytest
from cli_shell import Here
from redis import Redis

GRAPH = "pipeline.py:graph"


@pytest.mark.parametrize("how", ["of another type", "gone"])
def test_a_damaged_key_of_one_run_hides_no_other(here: Here, redis_url: str, how: str) -> None:
    where = ("--store", f"{redis_url}{'&' if '?' in redis_url else '?'}durability=relaxed")
    for run_id in ("r1", "s1"):
        here("run", GRAPH, "--run-id", run_id, *where)
    with Redis.from_url(redis_url) as keys:
        assert keys.delete("tau:run:r1") == 1
        if how == "of another type":
            keys.set("tau:run:r1", "text")
    listed = here.json("runs", *where)
    assert {run["run_id"]: run["status"] for run in listed} == {"r1": "damaged", "s1": "finished"}
    for words in (["verify"], ["verify", "r1"]):
        found = here.json(*words, *where, code=5)
        assert {one["run_id"] for one in found["damage"]} == {"r1"}
    assert here.json("verify", "s1", *where)["sound"]
    here("gc", "--keep-last", "0", "--dry-run", "--trim", *where)
    assert here("stats", *where).out
    assert [run["run_id"] for run in here.json("stats", *where)["runs"] if run["run_id"] == "s1"] == ["s1"]
    done = here("show", "r1", *where, code=5 if how == "of another type" else 3)
    assert "did you mean" not in done.err
    assert ("made by something else" if how == "of another type" else "what says where it is, is gone") in done.err
    assert "did you mean 's1'" in here("show", "s11", *where, code=3).err
    assert "damaged" in here("delete", "r1", *where, code=4).err  # asked for, and not confirmed
    for words in (["delete", "r1", "--yes"], ["run", GRAPH, "--run-id", "r1"]):
        here(*words, *where)
    assert {run["status"] for run in here.json("runs", *where)} == {"finished"}
    assert here.json("verify", *where)["sound"]
