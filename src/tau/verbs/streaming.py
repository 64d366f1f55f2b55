"""`astream`: a run, event by event."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import suppress
from typing import Any

from tau.config import ObserverSpec
from tau.engine.stop import Stop
from tau.events import Event
from tau.late_imports import load_module
from tau.observers import noop, resolve_observer
from tau.spelling import names_keywords
from tau.state import State
from tau.verbs.running import IfExists, Model, Running


class Streaming(Running[Model]):
    """Run a graph in an event loop and tell what happens as it happens."""

    @names_keywords
    async def astream(
        self,
        state: State | Mapping[str, Any] | Model | None = None,
        *,
        run_id: str | None = None,
        if_exists: IfExists = "error",
        wait: float = 0.0,
        resources: Mapping[str, Any] | None = None,
        observer: ObserverSpec = None,
        stop: Stop | None = None,
        max_runtime: float | None = None,
        tags: Iterable[str] = (),
        seed: int | None = None,
    ) -> AsyncGenerator[Event | State[Model], None]:
        """`aexecute`, yielding each event as it happens and the final state as the last item.

        Closing the iterator early stops the run; `aresume` goes on with it. Raises what `aexecute` raises, after the
        events that came before.

        >>> import asyncio
        >>> async def watch():
        ...     async for one in graph.astream({"count": 3}):
        ...         if isinstance(one, Event):
        ...             print(one.type) if one.type == "node.complete" else None
        ...         else:
        ...             print(one["sum"])
        >>> from tau import Event
        >>> asyncio.run(watch())
        node.complete
        node.complete
        5
        """
        load_module("asyncio")
        import asyncio

        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def put(event: Event | None) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, event)

        run = self.aexecute(
            state,
            run_id=run_id,
            if_exists=if_exists,
            wait=wait,
            resources=resources,
            observer=[put] if observer is None else [put, resolve_observer(observer) or noop],
            stop=stop,
            max_runtime=max_runtime,
            tags=tags,
            seed=seed,
        )
        task = asyncio.ensure_future(run)
        task.add_done_callback(lambda _: put(None))
        try:
            while (event := await queue.get()) is not None:
                yield event
            yield task.result()
        finally:
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
