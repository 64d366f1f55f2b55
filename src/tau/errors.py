"""The errors that tau raises, all below `TauError`: what happened, what was found, what to do; fields for programs.

::

    TauError
    ├── ConfigError (ValueError)
    │   ├── UnknownStoreError (LookupError)
    │   └── UnknownObserverError (LookupError)
    ├── GraphError (ValueError)                 .problems
    ├── ExecutionError (RuntimeError)           .node .state .path .run_id
    ├── NodeTimeoutError (TimeoutError)         .node .seconds
    ├── UnserializableError (TypeError)         .key .node .path .type_name
    ├── SchemaError (ValueError)                .node .keys .problems
    ├── LimitExceededError (RuntimeError)       .limit .run_id
    ├── CheckpointNotFoundError (LookupError)   .run_id
    │   └── RunFinishedError                    .finished_at
    ├── RunExistsError (RuntimeError)           .run_id .status .differs .resumable
    ├── RunOwnedError (RuntimeError)            .run_id .owner .since
    ├── RunWaitingError (RuntimeError)          .run_id .pauses
    ├── RunInterruptedError (RuntimeError)      .run_id .node .state .reason
    ├── RunCancelledError (RuntimeError)        .run_id .moved_to
    ├── WaitTimeoutError (TimeoutError)         .run_id .status .seconds
    ├── AnswerError (ValueError)                .run_id .name .problems
    │   ├── PauseNotFoundError (LookupError)    .waiting
    │   ├── AnsweredError                       .by .at
    │   └── PauseExpiredError (TimeoutError)    .deadline
    ├── LeaseLostError (RuntimeError)           .run_id
    ├── GraphChangedError (RuntimeError)        .run_id .changes .ways
    │   └── ReplayError                         .parent .what
    ├── CorruptCheckpointError (ValueError)     .run_id .position .what
    ├── UnsupportedFormatError (ValueError)     .found .supported
    ├── StoreError (OSError)                    .location
    │   ├── StoreFullError
    │   └── StoreUnavailableError (ConnectionError)   .transient
    ├── ChainError (RuntimeError)               .step_index .item .state .result
    ├── ParallelError (RuntimeError)            .errors .result
    ├── TaskError (RuntimeError)                .index .item .error
    ├── RemoteError (RuntimeError)              .type_name .frames
    ├── WorkerError (RuntimeError)              .deaths
    ├── ExecutorError (RuntimeError)
    ├── ConditionalError (RuntimeError)         .route .state
    ├── BranchError (RuntimeError)              .errors
    ├── MergeError (ValueError)                 .key .branches
    ├── ArtifactError (RuntimeError)            .path .node .run_id
    ├── HubError (RuntimeError)                 see tau.hub.errors
    └── AgentError (RuntimeError)               .agent .provider .model .address; see tau.agents.errors
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final


class TauError(Exception):
    """The root of every error of this library.

    ``hint`` is the end of the message if that says what to do in Python, and empty otherwise: the command leaves it out
    and names its own options instead. ``fields`` must be names that the class declares; they become attributes.
    """

    hint: str = ""

    def __init__(self, message: str, *, hint: str = "", **fields: Any) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        if hint:
            self.hint = hint
        for name, value in fields.items():
            if not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(self, name, value)

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ConfigError(TauError, ValueError):
    """A configuration that cannot be used; the message holds the path of the key."""


class UnknownStoreError(ConfigError, LookupError):
    """No store is registered under that name, and it is not a store URL."""


class UnknownObserverError(ConfigError, LookupError):
    """No observer is registered under that name."""


class GraphError(TauError, ValueError):
    """A graph that cannot be built or run; ``problems`` lists all that is wrong with it."""

    problems: Sequence[str] = ()


class ExecutionError(TauError, RuntimeError):
    """A run failed. ``state`` is the last finished state and ``path`` the nodes visited, the failing one last;
    of a long run the newest 250 or so."""

    node: str = ""
    state: Any = None
    path: Sequence[str] = ()
    run_id: str = ""


class NodeTimeoutError(TauError, TimeoutError):
    """A node did not finish within its timeout."""

    node: str = ""
    seconds: float = 0.0


class UnserializableError(TauError, TypeError):
    """A state value that cannot be stored exactly. Nothing was written. ``path`` leads to the offending part, as in
    ``state["a"][3].b``; ``node`` is ``None`` for the input of a run."""

    key: str = ""
    node: str | None = None
    path: str = ""
    type_name: str = ""


class SchemaError(TauError, ValueError):
    """Values that do not fit the schema of their graph: ``keys`` are their names, ``problems`` say why. Nothing was
    written. ``node`` set or read them, and is ``None`` for the input of a run."""

    node: str | None = None
    keys: Sequence[str] = ()
    problems: Sequence[str] = ()


class LimitExceededError(TauError, RuntimeError):
    """A bound was reached: iterations, crashes in a row, depth or size of a value."""

    limit: int = 0
    run_id: str = ""


class CheckpointNotFoundError(TauError, LookupError):
    """The store holds nothing to resume under that run id: it never did, or the run was deleted."""

    run_id: str = ""


class RunFinishedError(CheckpointNotFoundError):
    """The run finished, and its checkpoints were deleted: by ``preserve=False``, or by hand but for the summary."""

    finished_at: datetime | None = None


class RunExistsError(TauError, RuntimeError):
    """``execute`` was given a run id that is in use.

    ``differs`` says how the input differs from that run's. ``resumable`` is false if the run was cancelled, or finished
    and lost its checkpoints, so that no ``resume`` can take it.
    """

    run_id: str = ""
    status: str = ""
    differs: Sequence[str] = ()
    resumable: bool = True


class RunOwnedError(TauError, RuntimeError):
    """The run has an owner that is alive, or may be: another process, or another thread, task or node of this one."""

    run_id: str = ""
    owner: str = ""
    since: datetime | None = None


class RunWaitingError(TauError, RuntimeError):
    """The run waits for people: ``pauses`` are the names of what has no answer yet."""

    run_id: str = ""
    pauses: Sequence[str] = ()


class RunInterruptedError(TauError, RuntimeError):
    """The run was asked to stop, and did; everything finished is saved, and ``resume`` continues it."""

    run_id: str = ""
    node: str = ""
    state: Any = None
    reason: str = ""


class RunCancelledError(TauError, RuntimeError):
    """The run was cancelled for good; ``moved_to`` says where one is that was moved, else it is empty."""

    run_id: str = ""
    moved_to: str = ""


class WaitTimeoutError(TauError, TimeoutError):
    """A run had not ended after the ``seconds`` for which somebody waited; ``status`` is the one it had then."""

    run_id: str = ""
    status: str = ""
    seconds: float = 0.0


class AnswerError(TauError, ValueError):
    """An answer that was not taken: ``problems`` say where it does not fit the form of the pause ``name``."""

    run_id: str = ""
    name: str = ""
    problems: Sequence[str] = ()


class PauseNotFoundError(AnswerError, LookupError):
    """The run has no pause of that name now; ``waiting`` are those that have no answer yet."""

    waiting: Sequence[str] = ()


class AnsweredError(AnswerError):
    """Somebody was faster: the pause was answered ``by`` them ``at`` that time."""

    by: str = ""
    at: datetime | None = None


class PauseExpiredError(AnswerError, TimeoutError):
    """Nobody answered before the ``deadline`` of the pause."""

    deadline: datetime | None = None


class LeaseLostError(TauError, RuntimeError):
    """Another process took over or deleted the run; what this one had not committed is dropped."""

    run_id: str = ""


class GraphChangedError(TauError, RuntimeError):
    """The graph differs from the one that made the run in a way that could make the result wrong: ``changes`` prevent a
    resume, ``ways`` are what can be done, without an ``on_change`` for a run of another graph or a node that is gone.
    """

    run_id: str = ""
    changes: Sequence[str] = ()
    ways: Sequence[str] = ()


class ReplayError(GraphChangedError):
    """A replay came to ``what`` the run that it replays, ``parent``, has not done, so that nothing answers it."""

    parent: str = ""
    what: str = ""


class CorruptCheckpointError(TauError, ValueError):
    """Stored bytes fail their checksum or do not decode."""

    run_id: str = ""
    position: int | None = None
    what: str = ""


class UnsupportedFormatError(TauError, ValueError):
    """Stored data has a format that this version does not know; it was left untouched."""

    found: Any = None
    supported: Any = None


class StoreError(TauError, OSError):
    """A store could not do what was asked; ``location`` never holds a password."""

    location: str = ""


class StoreFullError(StoreError):
    """No space left: disk, quota, file-size limit or server memory."""


class StoreUnavailableError(StoreError, ConnectionError):
    """The store cannot be reached or used: gone, read-only, locked, not permitted.

    ``transient``: it may soon be reached again, so a commit is worth another try.
    """

    transient: bool = True


class ChainError(TauError, RuntimeError):
    """A step of a chain failed, or the chain was broken off before it.

    ``step_index`` (from 0) and ``item`` say at which step, ``state`` is what that step was given, ``result`` a
    `ChainResult` of the steps before it. The ``__cause__`` is what the step raised.
    """

    step_index: int = 0
    item: Any = None
    state: Any = None
    result: Any = None


class TaskError(TauError, RuntimeError):
    """One item of a parallel map failed: the ``item`` at ``index``, with ``error``, which is also the ``__cause__``.

    ``item`` is ``None`` for one that could not be drawn.
    """

    index: int = 0
    item: Any = None
    error: BaseException | None = None


class ParallelError(TauError, RuntimeError):
    """A parallel map failed or was broken off: ``errors`` are the `TaskError` of the items that failed, in their order,
    ``result`` is a `ParallelResult` of all that is done, the ``__cause__`` what the task raised that failed first."""

    errors: Sequence[TaskError] = ()
    result: Any = None


class RemoteError(TauError, RuntimeError):
    """What an item raised in another process, where the error itself could not be sent: ``type_name`` is its class,
    ``frames`` are the lines of its traceback."""

    type_name: str = ""
    frames: str = ""


class WorkerError(TauError, RuntimeError):
    """The worker process of an item died each of the ``deaths`` times that the item was tried: it was killed, ran out
    of memory, crashed or exited. It is not tried again, whatever a `Retry` says."""

    deaths: int = 0


class ExecutorError(TauError, RuntimeError):
    """Worker processes cannot be started, or a cluster is away. It ends the map as it is; what is finished is kept."""


class ConditionalError(TauError, RuntimeError):
    """A conditional could not choose its route, or the handler failed: its ``__cause__`` is what that raised, ``route``
    the name that the predicate asked for, empty where it did not come to that, ``state`` what it was given."""

    route: str = ""
    state: Any = None


class BranchError(TauError, RuntimeError):
    """Branches of a node failed; the others had finished. ``errors`` has what each raised, by its name."""

    errors: Mapping[str, BaseException] = MappingProxyType({})


class MergeError(TauError, ValueError):
    """These ``branches`` changed the same ``key``, and how that becomes one value is not said, or cannot be done."""

    key: str = ""
    branches: tuple[str, ...] = ()


class ArtifactError(TauError, RuntimeError):
    """A file that belongs to the state is missing or altered, or its node left it unfinished; ``node`` made it."""

    path: str = ""
    node: str = ""
    run_id: str = ""


class HubError(TauError, RuntimeError):
    """A message could not be delivered, or not be answered."""


class AgentError(TauError, RuntimeError):
    """An agent or its model failed; `tau.agents.errors` has those below."""

    agent = provider = model = address = ""


NEVER_RETRIED: Final = (
    UnserializableError, LimitExceededError, CorruptCheckpointError, GraphChangedError, LeaseLostError,
    RunCancelledError, WorkerError, PauseExpiredError,
)  # fmt: skip
"""Waiting does not help after these, so nothing is tried again, whatever a `Retry` says."""


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group, including those in nested groups; for any other error, the error itself."""
    found, left = [], [error]
    while left:
        one = left.pop()
        if isinstance(one, BaseExceptionGroup):
            left += reversed(one.exceptions)
        else:
            found.append(one)
    return found
