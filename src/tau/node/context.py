"""`Context`: what a node can know and use besides the state."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Coroutine, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar, overload

from tau.errors import TauError
from tau.node.artifacts import ArtifactBlock
from tau.node.current import RunNode, RunScope, run_scope

P = ParamSpec("P")
T = TypeVar("T")


class _Log(logging.LoggerAdapter[logging.Logger]):
    """Adds what it knows to what a call gives, which wins."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


class Context:
    """One visit of one node, for the node itself.

    ``run_id``, ``node``, ``visit`` (from 1) and ``attempt`` say which. Attempts at a visit are counted from 1 until one
    of them succeeds, across retries and resumes, whether they failed, were broken off or were killed (those of a
    process that was killed count as one); `Retry` has as many as it says in every process. ``resources`` are the
    clients and connections handed to ``execute``, which are not part of the state; ``deadline`` is the UTC time at
    which ``max_runtime`` ends, ``None`` without one. Reading any of these raises nothing.
    """

    __slots__ = ("_effect", "_scope", "attempt", "node", "visit")

    def __init__(self, run_scope: RunScope, effect: RunNode) -> None:
        self._scope = run_scope
        self._effect = effect
        self.node: str = effect.node.name
        self.visit: int = effect.visit
        self.attempt: int = effect.attempt

    @property
    def run_id(self) -> str:
        return self._scope.run_id

    @property
    def key(self) -> str:
        """An idempotency key for outside effects: the same for every attempt of this visit, and for no other visit."""
        name = f"{len(self.run_id)}:{self.run_id}{len(self.node)}:{self.node}{self.visit}"
        return hashlib.sha256(name.encode()).hexdigest()[:32]

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger under ``tau.nodes`` whose records carry ``run_id``, ``node``, ``visit`` and ``attempt``, and what a
        call gives in ``extra``."""
        where = {"run_id": self.run_id, "node": self.node, "visit": self.visit, "attempt": self.attempt}
        return _Log(logging.getLogger("tau.nodes"), where)

    @property
    def should_stop(self) -> bool:
        """Whether the run was asked to stop; a long node that raises `RunInterruptedError` then is run again later."""
        return bool(self._scope.should_stop())

    @property
    def deadline(self) -> datetime | None:
        end = self._scope.deadline
        return None if end is None else datetime.fromtimestamp(end, UTC)

    @property
    def resources(self) -> Mapping[str, Any]:
        return self._scope.resources

    @overload
    def step(
        self, name: str, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def step(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """What ``function(*args, **kwargs)`` returns, found once for this visit and stored before this returns.

        Where the step finished before, in an attempt that failed or a process that died, its stored result is
        returned and the function is not called. Every caller gets a copy of its own, the first one too; without a
        store the function is just called. Use each ``name`` for one step of a visit; a second one under it raises
        `ConfigError`, but a step that raised may be tried again. Give work in a loop numbered names. Arguments are not
        compared: a step that finished is known by its name alone. What the function does to its arguments in place is
        not stored: return it. A random generator, too, is for one step of a visit (a second one raises `ConfigError`):
        give each its own, as in ``numpy.random.default_rng([seed, number])``.

        With an async function: ``await ctx.step(...)``; a node that forgets the ``await`` fails. May be called from any
        thread or task of the node while it runs; afterwards, as after a timeout, it raises `TauError`. A result that
        cannot be stored raises `UnserializableError`, a run that was taken over `LeaseLostError`.
        """
        return self._scope.steps_of(self._effect).step(name, function, args, kwargs)

    def artifact(self, name: str, *, directory: bool = False, keep_last: int | None = None) -> ArtifactBlock:
        """``with ctx.artifact("clean.nc") as path:`` makes a file that belongs to the state.

        Write to ``path``, a temporary name, and close it within the block. After the block the file is on the disk
        under its own name, and when the node has returned, the state holds a `tau.Artifact` under that name, unless
        the node returned a value for it. With ``directory`` the path is one of an empty directory to be filled. What
        the block raises removes the file. A ``name`` is for one artifact of a visit. In an async node
        ``async with`` does the same without holding up the event loop while the file goes to the disk.

        Each visit has a file of its own, to which the history of the run refers. With ``keep_last`` only those of so
        many newest visits of this node stay, this one counted, and those that the state names: for a restart file that
        a loop writes again and again. The older ones go when the new one is stored; without a store nothing goes.

        Files lie beside a store that is a file or directory, or in ``CheckpointConfig(artifacts=...)``; otherwise
        this raises `ConfigError`. A block that left nothing, a link, a device or a file that is still open for writing
        raises `ArtifactError`, a full or unusable disk `StoreError`. What is published is read-only; a node that has
        altered it by its end fails with `ArtifactError`.
        """
        return ArtifactBlock(self._scope.steps_of(self._effect).artifact(name, directory, keep_last))

    def __repr__(self) -> str:
        return f"Context(run_id={self.run_id!r}, node={self.node!r}, visit={self.visit}, attempt={self.attempt})"


def current() -> Context:
    """The context of the node that is running here. Raises `TauError` outside of one."""
    scope = run_scope.get()
    effect: RunNode | None = None if scope is None else scope.visit_here()
    if scope is None or effect is None:
        raise TauError("tau.current() is for code that a node runs; no node is running here")
    return Context(scope, effect)
