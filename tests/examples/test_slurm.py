"""The job script of the Slurm example, run for real: out of time, back into the queue, until the run is finished."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tau import open_store
from tau.log.encoding import unseal
from tau.log.records import CheckpointRecord, Claimed, Interrupted

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "examples/slurm/job.sh"
STAND_IN = Path(__file__).with_name("slurm_stand_in.py")
VISITS = ["prepare", *["simulate"] * 14, "report"]


class Cluster:
    """A directory to submit from, with stand-ins for Slurm's programs first on PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        (self.folder / "examples").symlink_to(ROOT / "examples")
        programs = folder / "bin"
        programs.mkdir()
        for name in ("sbatch", "srun", "scontrol", "squeue"):
            self._program(programs / name, f"'{STAND_IN}' {name}")
        self._program(programs / "tau", "-m tau")
        self._program(programs / "python", "")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "NO_COLOR": "1",
        }

    def _program(self, path: Path, words: str) -> None:
        path.write_text(f"#!/bin/sh\nexec '{sys.executable}' {words} \"$@\"\n")
        path.chmod(0o755)

    def shell(self, command: str, **env: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", command], cwd=self.folder, env={**self.env, **env}, capture_output=True, text=True,
            check=False, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def submit(self, *words: str, **env: str) -> list[list[str]]:
        """How each life of each task ended."""
        assert self.shell(" ".join(["sbatch", *words]), **env) == "Submitted batch job 4711\n"
        (ends,) = self.submitted()
        return ends

    def submitted(self) -> list[list[list[str]]]:
        """The same of every job, in the order of submission."""
        jobs: list[list[list[str]]] = json.loads((self.folder / "history.json").read_text())
        return jobs

    def records(self, run_id: str) -> list[Any]:
        with closing(open_store(f"file://{self.folder}/runs")) as store:
            return [unseal(run_id, position, data) for position, data in store.read(run_id)]

    def results(self) -> dict[str, float]:
        with closing(open_store(f"file://{self.folder}/runs")) as store:
            return {row.run_id: store.load(row.run_id)["response"] for row in store.runs(status="finished")}


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> float:
    cluster = Cluster(tmp_path_factory.mktemp("undisturbed"))
    assert cluster.submit(SCRIPT) == [["0"]]
    return cluster.results()["warming-4711-1"]


def test_a_job_that_runs_out_of_time_is_requeued_until_the_run_is_finished(
    cluster: Cluster, undisturbed: float
) -> None:
    (ends,) = cluster.submit(SCRIPT, LINES="3")
    assert ends == ["requeue"] * (len(ends) - 1) + ["0"]
    assert 2 <= len(ends) <= 5, "three visits or a little more in every life"
    found = cluster.records("warming-4711-1")
    assert [one.node for one in found if isinstance(one, CheckpointRecord)] == VISITS, "nothing ran twice"
    jobs = [one.owner.job for one in found if isinstance(one, Claimed)]
    assert jobs == ["4711", *(f"4711 (restart {n})" for n in range(1, len(ends)))]
    assert cluster.results() == {"warming-4711-1": undisturbed}
    said = (cluster.folder / "warming-4711.out").read_text()
    assert "SIGUSR1: stopping" in said
    reasons = [one.reason for one in found if isinstance(one, Interrupted)]
    assert reasons == ["SIGUSR1"] * (len(ends) - 1), "a life that ends at once may not say it, but its record does"
    assert "member 1: 1.88 K" in cluster.shell("tau show warming-4711-1 --store file:runs --values")


def test_a_node_that_breaks_down_costs_the_visit_in_flight(cluster: Cluster, undisturbed: float) -> None:
    (ends,) = cluster.submit(SCRIPT, LINES="4", FAILS="yes")
    assert ends == ["node_fail", *["requeue"] * (len(ends) - 2), "0"]
    found = cluster.records("warming-4711-1")
    assert [one.node for one in found if isinstance(one, CheckpointRecord)] == VISITS
    assert max(one.attempt for one in found if isinstance(one, CheckpointRecord)) == 2
    assert cluster.results() == {"warming-4711-1": undisturbed}


def test_an_array_job_is_one_run_for_each_task(cluster: Cluster, undisturbed: float) -> None:
    ends = cluster.submit("--array=1-3", SCRIPT, LINES="6")
    assert [one[-1] for one in ends] == ["0", "0", "0"]
    assert all("requeue" in one for one in ends)
    found = cluster.results()
    assert found.keys() == {f"warming-4711-{member}" for member in (1, 2, 3)}
    assert found["warming-4711-1"] == undisturbed
    assert len(set(found.values())) == 3


def test_a_run_that_fails_ends_the_job_with_its_exit_code(cluster: Cluster) -> None:
    (cluster.folder / "runs").write_text("a file, no store")
    assert cluster.submit(SCRIPT, LINES="3") == [["5"]]


def test_another_job_goes_on_with_the_run_of_an_earlier_one(cluster: Cluster, undisturbed: float) -> None:
    first = "tau run examples/slurm/pipeline.py:graph --set member=1 --run-id mine --store file:runs --max-runtime 0"
    cluster.shell(f"{first} || test $? -eq 75")
    assert cluster.submit(SCRIPT, RUN_ID="mine") == [["0"]]
    assert cluster.results() == {"mine": undisturbed}


def test_the_page_says_what_works(cluster: Cluster) -> None:
    """Every block, in the order of the page."""
    page = (ROOT / "examples/slurm/README.md").read_text()
    said = [
        cluster.shell(text if language == "sh" else f"python - <<'END'\n{text}END", LINES="8")
        for language, text in re.findall(r"^```(sh|python)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ]
    first, array, again = cluster.submitted()
    assert [one[-1] for one in (*first, *array, *again)] == ["0"] * 6
    assert "requeue" in first[0]
    assert "warming-4711-1" in said[0]
    assert said[1].count("finished") == 5
    assert said[2].count("warming-4721-4 member 4: ") == 1
