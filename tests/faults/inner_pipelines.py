"""The engine as a subject whose nodes do their work in steps and leave files: what finished inside a node, and whole
files or none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from faulted_pipeline import RUN, Pipeline, noise
from subjects import NODES, Place

from tau import Artifact, ArtifactError, CheckpointConfig, Context, GraphConfig, State, StateGraph
from tau.stores.names import TEMPORARY

STEPS = ("a", "b")


class StepPipeline(Pipeline):
    """Every node has two steps and makes a file; what is counted are the steps, of which one may be repeated."""

    file_bytes = 8192

    def __init__(self, store: str, nodes: int = 4, interval: int = 1, preserve: bool = True) -> None:
        super().__init__(store, nodes, interval, preserve)
        self.stages = NODES[:nodes]
        self.nodes = [f"{stage}.{step}" for stage in self.stages for step in STEPS]
        self.held_back = 1

    def graph(self, place: Place, lease: float = 60.0) -> StateGraph:
        checkpoint = CheckpointConfig(
            store=self.url(place), interval=self.interval, preserve=self.preserve, lease=lease
        )
        graph = StateGraph(GraphConfig("climate", observer="noop", checkpoint=checkpoint))
        for stage in self.stages:
            graph.add_node(stage, self.node(place, stage))
        graph.sequence(*self.stages)
        return graph

    def node(self, place: Place, name: str) -> Callable[..., dict[str, Any]]:
        def work(step: str) -> dict[str, Any]:
            self.enter(place, f"{name}.{step}")
            return {"rows": [(step, 10**40)], "blob": noise(step, self.blob_bytes)}

        def run(state: State, ctx: Context) -> dict[str, Any]:
            found = [ctx.step(step, work, step) for step in STEPS]
            with ctx.artifact(f"{name}.nc") as path:
                self.write(path, name)
            return {name: found, "history": [*state.get("history", []), (name, len(state))]}

        return run

    def write(self, path: Path, name: str) -> None:
        path.write_bytes(noise(name, self.file_bytes))

    def read(self, path: Path) -> str:
        return f"{path.name} {path.read_bytes() == noise(path.stem, self.file_bytes)}"

    def start(self, place: Place) -> str:
        return self.shown(self.graph(place).execute({"dataset": "mauna-loa"}, run_id=RUN))

    def resume(self, place: Place) -> str:
        for path in self.artifacts(place).glob("*/*/*/*"):
            if not path.name.startswith(TEMPORARY) and not self.read(path).endswith("True"):
                raise AssertionError(f"half a file lies under its name: {path}")
        return self.shown(self.graph(place).resume(RUN))

    def shown(self, state: State) -> str:
        """As `faulted_pipeline.render`, but of a file what it holds: its place and time differ."""
        values = {key: self.content(value) if isinstance(value, Artifact) else value for key, value in state.items()}
        return f"{state.run_id!r} {state.checkpoint_node!r} {values!r}"

    def content(self, artifact: Artifact) -> str:
        artifact.check()
        try:
            return self.read(artifact.path)
        except OSError as error:  # the fault struck this subject's own reading
            raise ArtifactError(f"the artifact cannot be read by who wants to show it: {error}") from error

    def artifacts(self, place: Place) -> Path:
        return place.store / ("runs.db-artifacts" if self.kind == "sqlite" else "runs/artifacts")

    def leftovers(self, place: Place) -> list[str]:
        """Also what more than one attempt left in a visit, or under a temporary name."""
        root = self.artifacts(place)
        kept = {str(path.relative_to(place.store)) for path in root.rglob("*")}
        found = [name for name in super().leftovers(place) if name not in kept]
        found += [str(path) for path in root.rglob(f"{TEMPORARY}*")]
        return found + [str(visit) for visit in root.glob("*/*") if len(list(visit.iterdir())) > 1]


class NetcdfPipeline(StepPipeline):
    """The files are NetCDF, written by the library that climate research uses."""

    file_bytes = 1 << 20

    def warm(self, place: Place) -> None:
        super().warm(place)
        self.write(place.directory / "warm.nc", "warm")
        assert self.read(place.directory / "warm.nc").endswith("True")

    def write(self, path: Path, name: str) -> None:
        import netCDF4
        import numpy

        with netCDF4.Dataset(path, "w") as file:
            file.createDimension("time", self.file_bytes // 8)
            file.createVariable("co2", "f8", ("time",))[:] = numpy.arange(self.file_bytes // 8) + len(name)

    def read(self, path: Path) -> str:
        import netCDF4
        import numpy

        with netCDF4.Dataset(path) as file:
            wanted = numpy.arange(self.file_bytes // 8) + len(path.stem)
            return f"{path.name} {bool((file['co2'][:] == wanted).all())}"
