"""`Context`: what a node can know and use besides the state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, overload

from tau.config import Retry
from tau.errors import TauError
from tau.late_imports import load_module
from tau.node.artifacts import ArtifactBlock
from tau.node.current import RunNode, RunScope, run_scope
from tau.node.paused import NOTHING
from tau.node.seeds import derive
from tau.node.telling import Telling
from tau.spelling import names_keywords

if TYPE_CHECKING:
    from tau.log.records import Scope
    from tau.node.pauses import Question
    from tau.workflows.outcomes import Outcome

P = ParamSpec("P")
T = TypeVar("T")
N = TypeVar("N")


class Context(Telling):
    """One visit of one node, for the node itself.

    ``run_id``, ``node``, ``visit`` (from 1) and ``attempt`` say which. Attempts at a visit are counted from 1 until one
    of them succeeds, across retries and resumes, whether they failed, were interrupted or were killed (all attempts in
    a process that was killed count as one). The tries that `Retry` allows are counted separately in every process.
    ``resources`` are the clients and connections passed to ``execute``, which are not part of the state. ``deadline``
    is the UTC time at which ``max_runtime`` ends, ``None`` without one. Reading any of these raises nothing.

    >>> from tau import Context, StateGraph
    >>> graph = StateGraph("fit", store="sqlite:///tau.db")
    >>> @graph.node
    ... def fit(state, ctx: Context):
    ...     rows = ctx.step("load", list, [3.0, 1.0])  # done once, whatever happens to this attempt
    ...     with ctx.artifact("fit.txt") as path:
    ...         path.write_text(f"seed {ctx.seed('fit') >= 0}")
    ...     ctx.emit("fit.best", value=min(rows))
    ...     ctx.progress(2, total=2)
    ...     return {"best": min(rows)}
    >>> graph.sequence(fit)
    >>> final = graph.execute({}, run_id="fit-1")
    >>> final["best"], open(final["fit.txt"]).read()
    (1.0, 'seed True')
    """

    __slots__ = ("attempt", "node", "visit")

    def __init__(self, run_scope: RunScope, effect: RunNode) -> None:
        self._scope = run_scope
        self._effect = effect
        self.node: str = effect.node.name
        self.visit: int = effect.visit
        self.attempt: int = effect.attempt

    @property
    def run_id(self) -> str:
        """The run. Raises nothing."""
        return self._scope.run_id

    @property
    def key(self) -> str:
        """An idempotency key for outside effects: the same for every attempt of this visit, and for no other visit.
        Raises nothing."""
        effect = self._effect
        return visit_key(self.run_id, effect.scope, effect.name or self.node, self.visit)

    def seed(self, *names: str | int) -> int:
        """A seed for random numbers, from 0 to 2**63 - 1: always the same for this run, node, visit and these names,
        in every attempt and process and whatever else is drawn, and another one for other names.

        ``numpy.random.default_rng(ctx.seed("window", number))`` gives each piece of work a generator of its own. It is
        derived from the seed of the run, which ``execute(seed=...)`` chooses: runs with the same one draw the same.

        Raises `ConfigError` for a name that is neither text nor a whole number.
        """
        effect = self._effect
        return derive(self._scope.seed(), effect.name or self.node, self.visit, names, inside=effect.scope)

    @property
    def should_stop(self) -> bool:
        """Whether the run was asked to stop. A long node may then raise `RunInterruptedError`; ``resume`` runs it
        again."""
        return bool(self._scope.should_stop())

    @property
    def deadline(self) -> datetime | None:
        """When ``max_runtime`` ends, in UTC; ``None`` without one. Raises nothing."""
        end = self._scope.deadline
        return None if end is None else datetime.fromtimestamp(end, UTC)

    @property
    def resources(self) -> Mapping[str, Any]:
        """What was passed to ``execute`` as ``resources``; empty without. Reading raises nothing."""
        return self._scope.resources

    @overload
    def step(
        self, name: str, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def step(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The result of ``function(*args, **kwargs)``, computed once for this visit and stored before this returns.

        If the step has already finished, in an attempt that failed or a process that died, its stored result is
        returned and the function is not called. Every caller gets its own copy, including the first; without a
        store the function is just called.

        Use each ``name`` for one step of a visit. A second step of that name raises `ConfigError`, but a step that
        raised may be tried again. In a loop, put a number into the name. Arguments are not compared: a finished step is
        known by its name alone. What the function does to its arguments in place is not stored: return it. A random
        generator is also for one step of a visit (a second step raises `ConfigError`): give each step its own, as in
        ``numpy.random.default_rng(ctx.seed(name, number))``.

        With an async function: ``await ctx.step(...)``; a node that forgets the ``await`` fails. A step may be called
        from any thread or task of the node while it runs; afterwards, as after a timeout, it raises `TauError`. A
        result that cannot be stored raises `UnserializableError` or `LimitExceededError`, a run that was taken over
        `LeaseLostError`, a store that fails `StoreError`. What the function raises is raised here.
        """
        return self._scope.steps_of(self._effect).step(name, function, args, kwargs)

    @overload
    def journal(
        self, name: str, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def journal(self, name: str, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    def journal(self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The result of ``function(*args, **kwargs)``, as `step` gives it, but known by its ``name`` and its arguments:
        for calls of a client, of which a node makes many, and each of which is to be paid for once.

        The same name may be used for any number of calls. An attempt that comes after a failure or a kill is given the
        recorded result of a call with equal arguments; of several equal ones each result once, in the order in which
        they were numbered, and after that the function is called. So other arguments are another call: a changed prompt
        is asked anew. The function itself is not compared. A call belongs to the innermost step, item of a map or graph
        that makes it; if that is tried again, it is given the recorded results again.

        An argument that cannot be encoded raises `UnserializableError`: bind clients to the function, as in
        ``ctx.journal("ask", client.chat, prompt)``. In an item in a worker process or on dask the function is just
        called, and the item's result is what is kept. Everything else is as for `step`, in threads, tasks and errors.

        >>> other = StateGraph("texts", store="sqlite:///tau.db")
        >>> @other.node
        ... def ask(state, ctx: Context):
        ...     return {"lengths": [ctx.journal("ask", len, text) for text in state["texts"]]}  # each paid for once
        >>> other.sequence(ask)
        >>> other.execute({"texts": ["dry", "warm"]})["lengths"]
        [3, 4]
        """
        runner = self._scope.journal_of(self._effect)
        if runner is None:
            return function(*args, **kwargs)
        load_module("tau.node.journaled_calls")
        from tau.node.journaled_calls import journaled  # only loaded where a node journals calls

        return journaled(runner, name, function, args, kwargs)

    @overload
    def map(  # type: ignore[overload-overlap]
        self,
        name: str,
        function: Callable[[N], Coroutine[Any, Any, T]],
        items: Iterable[N],
        *,
        workers: int = ...,
        executor: Any = ...,
        key: Callable[[N], str | int] | None = ...,
        errors: Literal["raise"] = ...,
        timeout: float | None = ...,
        retry: Retry | None = ...,
        rate: float | None = ...,
        idempotent: bool = ...,
        progress: Callable[[int, int | None, T], object] | None = ...,
    ) -> Coroutine[Any, Any, list[T]]: ...
    @overload
    def map(
        self,
        name: str,
        function: Callable[[N], T],
        items: Iterable[N],
        *,
        workers: int = ...,
        executor: Any = ...,
        key: Callable[[N], str | int] | None = ...,
        errors: Literal["raise"] = ...,
        timeout: float | None = ...,
        retry: Retry | None = ...,
        rate: float | None = ...,
        idempotent: bool = ...,
        progress: Callable[[int, int | None, T], object] | None = ...,
    ) -> list[T]: ...
    @overload
    def map(  # type: ignore[overload-overlap]
        self,
        name: str,
        function: Callable[[N], Coroutine[Any, Any, T]],
        items: Iterable[N],
        *,
        workers: int = ...,
        executor: Any = ...,
        key: Callable[[N], str | int] | None = ...,
        errors: Literal["collect"],
        timeout: float | None = ...,
        retry: Retry | None = ...,
        rate: float | None = ...,
        idempotent: bool = ...,
        progress: Callable[[int, int | None, T], object] | None = ...,
    ) -> Coroutine[Any, Any, list[Outcome[T]]]: ...
    @overload
    def map(
        self,
        name: str,
        function: Callable[[N], T],
        items: Iterable[N],
        *,
        workers: int = ...,
        executor: Any = ...,
        key: Callable[[N], str | int] | None = ...,
        errors: Literal["collect"],
        timeout: float | None = ...,
        retry: Retry | None = ...,
        rate: float | None = ...,
        idempotent: bool = ...,
        progress: Callable[[int, int | None, T], object] | None = ...,
    ) -> list[Outcome[T]]: ...
    @names_keywords
    def map(
        self,
        name: str,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        workers: int = 0,
        executor: Any = "threads",
        key: Callable[[Any], str | int] | None = None,
        errors: Literal["raise", "collect"] = "raise",
        timeout: float | None = None,
        retry: Retry | None = None,
        rate: float | None = None,
        idempotent: bool = False,
        progress: Callable[[int, int | None, Any], object] | None = None,
    ) -> Any:
        """``[function(item) for item in items]``, several at a time, each result stored as soon as it is there.

        An attempt that comes after a failure or a kill repeats the items that were in flight, and nothing else. This is
        `process_parallel` with its rules, from any thread of the node; with an async ``function``, ``await
        ctx.map(...)``. ``workers``: how many at a time; 0 means twice the processors, at most 16. ``key``: names items
        that cannot be stored. ``executor``, ``timeout`` (seconds), ``retry``, ``rate`` (begun a second) and
        ``idempotent`` are as in `ParallelConfig`. ``progress(done, total, result)`` is called after each that is done.

        The first item that fails ends the map with `ParallelError`. With ``errors="collect"`` all items are tried, and
        this returns an `Outcome` for each. Raises `ConfigError` for an argument that cannot be used and for a ``name``
        that something else of this visit has, and what `step` raises where a result cannot be stored.

        >>> other = StateGraph("squares", store="sqlite:///tau.db")
        >>> @other.node
        ... def square(state, ctx: Context):
        ...     return {"squares": ctx.map("square", lambda n: n * n, state["numbers"])}
        >>> other.sequence(square)
        >>> other.execute({"numbers": [1, 2, 3]})["squares"]
        [1, 4, 9]
        """
        load_module("tau.workflows.mapping")
        from tau.workflows.mapping import map_items  # only loaded where a node maps

        tries = {"timeout": timeout, "retry": retry, "rate": rate, "idempotent": idempotent}
        visit = (self._scope, self._effect)
        each = {"executor": executor, **tries}
        return map_items(
            visit, name, function, items, workers=workers, key=key, errors=errors, each=each, progress=progress
        )

    def ask(
        self,
        name: str,
        *,
        form: Any = None,
        deadline: datetime | timedelta | float | None = None,
        default: Any = NOTHING,
        prompt: str = "",
    ) -> Any:
        """The answer of a person, as an instance of ``form``; without a form, any value.

        While there is none, the attempt ends here: the run is stored as ``waiting``, and ``execute`` raises
        `RunWaitingError`. When it was answered and is resumed, the node begins anew. Steps, items and artifacts that
        were finished are kept; what stands outside of them runs again. The wait is no attempt, and no timeout counts
        it. The arguments are those of `pause_node`. Use each ``name`` for one question of a visit.

        What ends the attempt is no ``Exception``, so that ``except Exception`` and ``retry=`` do not see it; a node
        that keeps it to itself fails. Raises `PauseExpiredError` after a deadline without a default, `ConfigError` for
        an argument that cannot be used, for a name that is taken and for a run without a store.

        >>> from tau import RunWaitingError
        >>> other = StateGraph("review", store="sqlite:///tau.db")
        >>> other.add_node("ask", lambda state, ctx: {"go": ctx.ask("go", form=bool, prompt="publish it?")})
        >>> other.sequence("ask")
        >>> try:
        ...     other.execute({}, run_id="review-1")
        ... except RunWaitingError:
        ...     other.answer("review-1", "go", True)
        >>> other.resume("review-1")["go"]
        True
        """
        load_module("tau.node.pauses")
        from tau.node.pauses import Question  # only loaded where a node asks

        return self._ask(name, Question(name, form, deadline, default, prompt))[0]

    def _ask(self, name: str, question: Question, *, whole: bool = False) -> tuple[Any, dict[str, Any]]:
        asked = self._scope.steps_of(self._effect).asked
        return asked.ask(name, question, whole=whole), asked.changes

    def artifact(self, name: str, *, directory: bool = False, keep_last: int | None = None) -> ArtifactBlock:
        """``with ctx.artifact("clean.nc") as path:`` makes a file that belongs to the state.

        Write to ``path``, a temporary name, and close the file within the block. After the block the file is on disk
        under its own name. When the node has returned, the state holds a `tau.Artifact` under ``name``, unless the node
        returned a value of that name. With ``directory``, the path is that of an empty directory to be filled. If the
        block raises, the file is removed. Use each ``name`` for one artifact of a visit. In an async node,
        ``async with`` does the same without blocking the event loop while the file is written to disk.

        Each visit has a file of its own, to which the history of the run refers. With ``keep_last=N``, only the files
        of the N newest visits of this node are kept, including this one, and those that the state refers to: for a
        restart file that a loop writes again and again. In a graph inside a node, the visits are those within one visit
        of that node. The older files are removed when the new one is stored; without a store nothing is removed.

        Files are beside a store that is a file or directory, or in ``CheckpointConfig(artifacts=...)``; without either
        this raises `ConfigError`. A block that leaves nothing, a link, a device or a file that is still open for
        writing raises `ArtifactError`, a full or unusable disk `StoreError`. A published file is read-only; a node that
        has altered it by its end fails with `ArtifactError`.
        """
        return ArtifactBlock(self._scope.steps_of(self._effect).artifacts.block(name, directory, keep_last))

    def __reduce__(self) -> Any:
        raise TypeError(
            "a Context belongs to the process of its run; in a worker process tau.current() has key, seed and attempt"
        )

    def __repr__(self) -> str:
        return f"Context(run_id={self.run_id!r}, node={self.node!r}, visit={self.visit}, attempt={self.attempt})"


def visit_key(run_id: str, scope: Scope, node: str, visit: int) -> str:
    """What `Context.key` is in that visit of a node, which belongs to that scope."""
    name = f"{len(run_id)}:{run_id}"
    for around, number, branch in scope:
        name += f"|{len(around)}:{around}{number}|{len(branch)}:{branch}"
    name += f"{len(node)}:{node}{visit}"
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def current() -> Context:
    """The context of the node that is running here. Raises `TauError` outside of a node.

    >>> import tau
    >>> graph = tau.StateGraph("where")
    >>> graph.add_node("here", lambda state: {"at": tau.current().node})
    >>> graph.sequence("here")
    >>> graph.execute({})["at"]
    'here'
    """
    scope = run_scope.get()
    effect: RunNode | None = None if scope is None else scope.visit_here()
    if scope is None or effect is None:
        raise TauError("tau.current() is for code that a node runs; no node is running here")
    return Context(scope, effect)
