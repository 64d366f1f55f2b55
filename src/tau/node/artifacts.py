"""The block in which a node makes an artifact, for a thread and for an event loop."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tau.errors import ArtifactError
from tau.late_imports import load_module
from tau.node.current import RunNode
from tau.node.left_calls import Call
from tau.state_changes import artifacts_read
from tau.stores.artifact_content import wrong_with
from tau.stores.failures import start_thread
from tau.waiting import DaemonThread

T = TypeVar("T")


_ADVICE: Final = "write with ctx.artifact(name) as path: ..., and use the path within"


class ArtifactBlock(AbstractContextManager[Path], AbstractAsyncContextManager[Path]):
    """See `Context.artifact`: ``with`` flushes and commits in the caller's thread, ``async with`` in another one."""

    def __init__(self, block: AbstractContextManager[Path]) -> None:
        self._block = block

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"ctx.artifact(...) is a block, not a path, and has no {name!r}: {_ADVICE}")

        def __fspath__(self) -> str:
            raise TypeError(f"ctx.artifact(...) is a block, not a path: {_ADVICE}")

    def __enter__(self) -> Path:
        return self._block.__enter__()

    def __exit__(self, *raised: Any) -> bool | None:
        return self._block.__exit__(*raised)

    async def __aenter__(self) -> Path:
        entering = Call(self._block.__enter__)
        try:
            return await _in_thread(entering)
        except BaseException as error:
            if entering.has_returned:  # cancelled after it: the block will not run
                self._block.__exit__(type(error), error, error.__traceback__)
            raise

    async def __aexit__(self, *raised: Any) -> bool | None:
        return await _in_thread(Call(partial(self._block.__exit__, *raised)))


async def _in_thread(call: Call[T]) -> T:
    """Call in a thread of its own; what has begun is completed, and a cancellation meanwhile is raised after it."""
    load_module("tau.node.async_calls")
    from tau.node.async_calls import to_its_end  # asyncio is only loaded where something needs it

    thread = DaemonThread(call, "tau-artifact")
    await to_its_end(call, partial(start_thread, thread, "the files of a node"))
    return call.result()


def check_read(effect: RunNode, result: Any) -> None:
    """Raise `ArtifactError` where an artifact that a visit read, and that stays in the state, is not what it was."""
    for artifact in artifacts_read(effect.state, result):
        wrong = wrong_with(artifact)
        if wrong:
            raise ArtifactError(
                f"node {effect.node.name!r} read the artifact {artifact.name!r}, which {wrong} now that the node has "
                f"ended: {artifact.path}. Node {artifact.node!r} (visit {artifact.visit}) made it, and it must not be "
                "changed in place: write what is new as another artifact. Bring it back from a copy and resume, or "
                "start a new run",
                path=str(artifact.path),
                node=effect.node.name,
            )
