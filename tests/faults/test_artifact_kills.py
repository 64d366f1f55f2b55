"""Artifacts of threads, blocks inside blocks and steps, by processes that are killed at any moment: none is lost, none
is half, and nothing stays that nobody refers to."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tau import Artifact, State, open_store

FILES = 12

PROGRAM = textwrap.dedent(
    """
    import os
    import sys
    from concurrent.futures import ThreadPoolExecutor
    from tau import StateGraph

    graph = StateGraph("files", store=sys.argv[1])

    def one(ctx, name):
        with ctx.artifact(name) as path:
            path.write_text(name * 1000)
        return name

    def inside(ctx, names):
        if names:
            with ctx.artifact(names[0]) as path:
                path.write_text(names[0] * 500)
                inside(ctx, names[1:])
                with open(path, "a") as file:
                    file.write(names[0] * 500)

    @graph.node
    def make(state, ctx):
        os.write(1, b"made\\n")
        with ThreadPoolExecutor(4) as pool:
            def work(number):
                ctx.step(f"step {number}", one, ctx, f"step {number}.csv")
                one(ctx, f"free {number}.csv")
                os.write(1, b"made\\n")
            list(pool.map(work, range(FILES)))
        inside(ctx, [f"inside {number}.csv" for number in range(4)])

    @graph.node
    def read(state):
        for artifact in state.values():
            artifact.check()
        os.write(1, b"made\\n")

    graph.sequence(make, read)
    graph.execute({}, run_id="r", if_exists="resume")
    os.write(1, b"finished\\n")
    """
).replace("FILES", str(FILES))


def killed_at(place: str, tmp_path: Path, count: int) -> bool:
    """Run until so many lines were said, then kill; whether it finished before."""
    command = [sys.executable, "-c", PROGRAM, place]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        said: list[str] = []
        for line in child.stdout:
            said.append(line.strip())
            if said[-1] != "made":
                break
            if len(said) == count:
                child.kill()
        rest = child.stdout.read()
    assert set(said) <= {"made", "finished"}, "\n".join([*said, rest])
    return "finished" in said


def carry_to_the_end(place: str, artifacts: Path, tmp_path: Path, kills: list[int]) -> State:
    for count in kills:
        assert not killed_at(place, tmp_path, count)
    assert killed_at(place, tmp_path, 10**6)
    with open_store(place) as store:
        final = store.load("r")
    names = {f"step {number}.csv" for number in range(FILES)} | {f"free {number}.csv" for number in range(FILES)}
    assert set(final) == names | {f"inside {number}.csv" for number in range(4)}
    for name, artifact in final.items():
        assert isinstance(artifact, Artifact)
        artifact.check()
        assert artifact.path.read_text() == name * 1000
    kept = {artifact.path for artifact in final.values()}
    assert {path for path in artifacts.rglob("*") if not path.is_dir()} == kept
    return final


@pytest.mark.parametrize("kind", ["sqlite", "file"])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.deep) for seed in range(1, 26))])
def test_artifacts_of_killed_processes_are_whole(tmp_path: Path, kind: str, seed: int) -> None:
    places = {"sqlite": ("sqlite:///{}/runs.db", "runs.db-artifacts"), "file": ("file://{}/runs", "runs/artifacts")}
    place, artifacts = places[kind]
    chance = random.Random(seed)
    kills = [chance.randint(1, FILES) for _ in range(10 if seed else 3)]
    carry_to_the_end(place.format(tmp_path), tmp_path / artifacts, tmp_path, kills)
