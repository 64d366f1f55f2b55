"""The job of the batch system stands in the claim, so that who finds a run owned knows which job to look for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

import tau
from tau import RunOwnedError, StateGraph, open_store
from tau.host import Host

VARIABLES = (
    "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT", "PBS_JOBID", "LSB_JOBID",
    "JOB_ID",
)  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "4711"}, "4711"),
        ({"SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": "0"}, "4711"),
        ({"SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": "2"}, "4711 (restart 2)"),
        ({"SLURM_JOB_ID": "4713", "SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "0"}, "4711_0"),
        (
            {
                "SLURM_JOB_ID": "4713",
                "SLURM_ARRAY_JOB_ID": "4711",
                "SLURM_ARRAY_TASK_ID": "3",
                "SLURM_RESTART_COUNT": "1",
            },
            "4711_3 (restart 1)",
        ),
        ({"PBS_JOBID": "17.head"}, "17.head"),
        ({"LSB_JOBID": "18"}, "18"),
        ({"JOB_ID": "19"}, "19"),
    ],
)
def test_a_claim_names_the_job(environment: dict[str, str], job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    owner = Host().owner(60.0)
    assert owner.job == job
    assert (", job " in str(owner)) == bool(job)


def test_a_process_is_the_same_owner_each_time_but_for_its_nonce_and_since() -> None:
    """It is found out once for many runs that begin in the same second; a child of fork finds out its own."""
    host = Host()
    first, second = host.owner(60.0), host.owner(60.0)
    assert first.nonce != second.nonce
    assert replace(second, nonce=first.nonce, since=first.since) == first
    assert host.owner(5.0).lease == 5.0
    reads, writes = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writes, str(host.owner(5.0).pid).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(reads, 20)) == pid
    for each in (reads, writes):
        os.close(each)


def test_a_child_with_the_pid_of_its_parent_is_another_owner() -> None:
    """As in a namespace of its own, where both are the first process."""
    host, parent = Host(), os.getpid()
    mine = host.owner(5.0).started
    reads, writes = os.pipe()
    if (pid := os.fork()) == 0:
        os.getpid = lambda: parent
        os.write(writes, str(host.owner(5.0).started).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reads, 40).decode() != str(mine)
    for each in (reads, writes):
        os.close(each)


HOLDING = """
import sys
from tau import StateGraph
graph = StateGraph("g", store="sqlite:///runs.db")

def hold(state):
    print("in the node", flush=True)
    sys.stdin.read()

graph.add_node("hold", hold, version="1")
graph.sequence("hold")
graph.execute({}, run_id="r")
"""


def test_who_finds_a_run_owned_is_told_the_job_and_so_is_who_looks(tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name not in VARIABLES},
        "PYTHONPATH": str(Path(tau.__path__[0]).parent),
        "SLURM_JOB_ID": "4711",
        "SLURM_RESTART_COUNT": "1",
        "NO_COLOR": "1",
    }
    command = [sys.executable, "-c", HOLDING]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        assert owner.stdout.readline() == "in the node\n"
        place = f"sqlite:///{tmp_path}/runs.db"
        graph = StateGraph("g", store=place)
        graph.add_node("hold", lambda state: None, version="1")
        graph.sequence("hold")
        job = f"pid {owner.pid} on {os.uname().nodename}, job 4711 (restart 1)"
        with pytest.raises(RunOwnedError) as refused:
            graph.resume("r")
        assert refused.value.owner == job
        assert job in str(refused.value)
        look = [sys.executable, "-m", "tau", "show", "r", "--store", place]
        shown = subprocess.run(look, env=environment, capture_output=True, text=True, check=True).stdout
        assert job in shown
        told = json.loads(subprocess.run([*look, "--json"], env=environment, capture_output=True, check=True).stdout)
        assert told["owner"] == job
        owner.stdin.close()
    assert owner.returncode == 0
    open_store(place).close()
