"""A service that runs a graph: start a run, watch it, fetch its result. A killed server goes on where it was."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Path
from fastapi.responses import StreamingResponse
from pipeline import Input, build

from tau import Event, Stop, TauError

graph = build(os.environ.get("TAU_STORE", "sqlite:///service.db"))
stop = Stop()
tasks: dict[str, asyncio.Task[None]] = {}
watchers: dict[str, set[asyncio.Queue[Event | None]]] = {}
RunId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def tell(run_id: str, event: Event | None) -> None:
    for queue in watchers.get(run_id, ()):
        queue.put_nowait(event)


async def begin(run_id: str, values: dict[str, Any]) -> None:
    async for item in graph.astream(values, run_id=run_id, stop=stop):
        if isinstance(item, Event):
            tell(run_id, item)


async def go_on(run_id: str) -> None:
    loop = asyncio.get_running_loop()
    await graph.aresume(run_id, observer=lambda event: loop.call_soon_threadsafe(tell, run_id, event), stop=stop)


async def carry(run_id: str, work: Awaitable[None]) -> None:
    """To its end, whoever watches; how it ended is in the store."""
    try:
        await work
    except TauError as error:
        print(f"{run_id}: {error}", flush=True)
    finally:
        tasks.pop(run_id, None)
        asyncio.get_running_loop().call_soon(tell, run_id, None)  # after the events that are on their way


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    for status in ("interrupted", "dead"):  # what the last server left: stopped in time, or killed
        for row in await asyncio.to_thread(graph.store.runs, graph=graph.name, status=status):
            tasks[row.run_id] = asyncio.create_task(carry(row.run_id, go_on(row.run_id)))
    yield
    stop.set("the server stops")
    await asyncio.gather(*tasks.values())


app = FastAPI(lifespan=lifespan)


@app.put("/runs/{run_id}", status_code=202)
async def start(run_id: RunId, given: Input) -> dict[str, str]:
    if await asyncio.to_thread(graph.store.summary, run_id) is not None or run_id in tasks:
        raise HTTPException(409, "this run exists already")
    tasks[run_id] = asyncio.create_task(carry(run_id, begin(run_id, given.model_dump())))
    return {"run_id": run_id}


@app.get("/runs/{run_id}")
async def result(run_id: RunId) -> dict[str, Any]:
    row = await asyncio.to_thread(graph.store.summary, run_id)
    if row is None and run_id not in tasks:
        raise HTTPException(404, "there is no such run")
    if row is None or row.status != "finished":
        return {"status": "running" if row is None else row.status}
    return {"status": row.status, "report": (await asyncio.to_thread(graph.store.load, run_id))["report"]}


@app.get("/runs/{run_id}/events")
async def events(run_id: RunId) -> StreamingResponse:
    """Server-sent events from now on, until the run ends or the client goes; neither disturbs the other."""
    await result(run_id)  # 404 for a run that nobody knows
    return StreamingResponse(stream(run_id), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def stream(run_id: str) -> AsyncIterator[str]:
    queue: asyncio.Queue[Event | None] = asyncio.Queue()
    watchers.setdefault(run_id, set()).add(queue)
    try:
        live = run_id in tasks
        while live and (event := await queue.get()) is not None:
            yield f"data: {event.to_json()}\n\n"
    finally:
        watchers[run_id].discard(queue)
        if not watchers[run_id]:
            del watchers[run_id]
