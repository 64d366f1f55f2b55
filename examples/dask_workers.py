"""Eight workers on a dask cluster: dask starts them, the store decides what each does.

A worker that dies costs the node it was at; any other worker goes on with the run. On a real cluster give `Client` the
address of the scheduler, and the store a URL that all machines reach, such as postgresql://host/runs.
"""

from __future__ import annotations

import tempfile

from distributed import Client, LocalCluster

import tau

WORKERS = 8
STATIONS = 40


def stations(url: str) -> tau.StateGraph:
    """The graph, made anew in each process."""
    graph = tau.StateGraph("stations", store=url)
    graph.add_node("fetch", lambda state: {"raw": [state["station"] * 10 + day for day in range(7)]})
    graph.add_node("mean", lambda state: {"mean": sum(state["raw"]) / len(state["raw"])})
    graph.sequence("fetch", "mean")
    return graph


def work(url: str, number: int) -> int:
    """One worker: it ends when there is nothing left to take."""
    return tau.worker(stations(url), once=True).finished


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/runs.db"
        graph = stations(url)
        for station in range(STATIONS):
            graph.admit({"station": station}, run_id=f"station-{station}")
        with (
            LocalCluster(n_workers=2, threads_per_worker=4, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            done = client.gather(client.map(work, [url] * WORKERS, range(WORKERS), pure=False))
        finished = {row.run_id for row in graph.store.runs(status="finished")}
        print(f"{len(done)} workers finished {len(finished)} runs")
        assert len(finished) == sum(done) == STATIONS
        graph.store.close()


if __name__ == "__main__":
    main()
