"""The records of a run's log: every kind there is, and what each holds. Their bytes are made in ``encoding.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final

from msgspec import Struct, field

from tau.errors import BranchError
from tau.events import frames_of, text_of
from tau.graph.fingerprint import GraphFingerprint
from tau.stores.contract import Owner
from tau.values.stored import Stored

PATH_LIMIT: Final = 250
"""How many of the newest visits a run's path keeps, and at most 32 more."""

_LONGEST_PATH: Final = PATH_LIMIT + 32

Scope = tuple[tuple[str, int, str], ...]
"""Where a record belongs: a path of (node, visit, name); (key, 0, name) for what is inside an item of a map or chain.

What a graph inside a node records has the visit of that node and the name of the branch, empty where it has none.
"""


def place_of(scope: Scope, node: str) -> str:
    """What names a node in its run: the path of one inside others, with the numbers of their visits."""
    outer = [f"{around}.{visit}/{branch}" if branch else f"{around}.{visit}" for around, visit, branch in scope]
    return "/".join([*outer, node])


def path_of(scope: Scope, node: str) -> str:
    """What people are told a node is called that is part of a graph inside a node: ``prepare/co2/clean``."""
    names = [one for outer, _, branch in scope for one in (outer, branch) if one]
    return "/".join(names if scope and node == scope[-1][2] else [*names, node])


class Progress(Struct, gc=False):
    """How far a run is: everything that resume needs but the values. ``crashes`` counts the attempts at the node
    that comes next, ``stuck`` those that were killed in a row since an item of it was finished. ``seed`` is ``None`` in
    runs that older versions admitted. ``inside`` is for a manifest that is written inside a node. ``replays`` says of a
    run that replays its parent what becomes of calls that are not found; it is empty for all others."""

    graph: str
    fingerprint: GraphFingerprint | None = None
    input_digest: bytes = b""
    parent: str | None = None
    tags: tuple[str, ...] = ()
    created: float = 0.0
    iteration: int = 0
    node: str | None = None
    next: str | None = None
    updated: float = 0.0
    visits: dict[str, int] = field(default_factory=dict)
    path: list[str] = field(default_factory=list)
    taken: set[tuple[str, str]] = field(default_factory=set)
    status: str = "running"
    crashes: int = 0
    items: int = 0
    preserve: bool = field(default=True, name="keep")
    provenance: dict[str, str] = field(default_factory=dict)
    stuck: int = 0
    seed: int | None = None
    inside: list[InsideManifest] = field(default_factory=list)
    replays: str = ""


class InsideManifest(Struct, array_like=True, gc=False):
    """How far a graph inside the node in flight is, in a manifest that is written there."""

    scope: Scope
    progress: Progress
    changed: dict[str, Stored]
    removed: list[str]


class Manifest(Struct, array_like=True, gc=False):
    """Everything at once: the progress and where each value lies. Resume needs no record before it."""

    progress: Progress
    values: dict[str, Stored]


class Failure(Struct, frozen=True, omit_defaults=True):
    """An error as it is kept: its type, text and frames, never the object.

    With its ``notes``, what it was raised from, or while it was handled (``cause``), and what a group holds
    (``errors``).
    """

    type: str
    text: str
    frames: tuple[tuple[str, int, str], ...] = ()
    notes: tuple[str, ...] = ()
    cause: Failure | None = None
    errors: tuple[Failure, ...] = ()


_MAX_TEXT = 4000
_MAX_FRAMES = 20
_MAX_INSIDE = 20


def describe(error: BaseException) -> Failure:
    """The type, text and innermost frames of an error, all of them text that can be stored; so too of a limited number
    of those behind it and in it."""
    return _described(error, [_MAX_INSIDE])


def _described(error: BaseException, left: list[int]) -> Failure:
    frames, is_all = frames_of(error)
    notes = getattr(error, "__notes__", ())
    notes = notes[:_MAX_INSIDE] if isinstance(notes, (list, tuple)) else ()
    held, before = _held(error), before_it(error)
    is_held = any(one is before for one in held)
    return Failure(
        type=type(error).__name__,
        text=text_of(error)[:_MAX_TEXT],
        frames=tuple(frames[-_MAX_FRAMES:]),
        notes=tuple(text_of(one)[:_MAX_TEXT] for one in notes),
        cause=None if is_all or is_held else next(_inside([before], left), None),
        errors=tuple(_inside(held, left)),
    )


def _held(error: BaseException) -> Sequence[BaseException]:
    """The errors of a group, or of the branches of a node."""
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions
    return [*error.errors.values()] if isinstance(error, BranchError) else ()


def _inside(errors: Iterable[BaseException | None], left: list[int]) -> Iterator[Failure]:
    for error in errors:
        if error is not None and left[0] > 0:
            left[0] -= 1
            yield _described(error, left)


def before_it(error: BaseException) -> BaseException | None:
    """What an error was raised from, or while it was handled, unless that is suppressed."""
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


class Record(Struct, array_like=True, gc=False):
    """What all records begin with; the journal fills these in. ``form_at_least`` is the oldest format of a kind,
    ``form_inside`` of one that tells of a graph inside a node."""

    form_at_least: ClassVar[int] = 1
    form_inside: ClassVar[int] = 1
    position: int = 0
    token: bytes = b""
    time: float = 0.0
    scope: Scope = ()


class Admitted(Record, tag="admitted"):
    """A run begins, with this input, under this graph; or, later in a log, its state was replaced by hand."""

    manifest: Manifest | None = None
    provenance: dict[str, str] = field(default_factory=dict)


class Claimed(Record, tag="claimed"):
    """An owner takes the run. ``fingerprint`` and ``provenance`` are given where they differ from those before;
    ``rewind`` where it goes on after that position because something later was damaged. ``counted``: if the owner
    before was killed, that counts against the run."""

    owner: Owner | None = None
    fingerprint: GraphFingerprint | None = None
    on_change: str = "error"
    changes: tuple[str, ...] = ()
    rewind: int | None = None
    provenance: dict[str, str] = field(default_factory=dict)
    counted: bool = True


class CheckpointRecord(Record, tag="checkpoint"):
    """A visit of a node is finished: what changed, and which node comes next (``None`` after an exit point)."""

    form_inside: ClassVar[int] = 4
    node: str = ""
    visit: int = 1
    iteration: int = 1
    attempt: int = 1
    next: str | None = None
    changed: dict[str, Stored] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    seconds: float = 0.0
    manifest: Manifest | None = None


class Routed(Record, tag="routed"):
    """A route said which node comes after a finished visit (``None``: the run ends there); ``answer`` as it is shown.

    It is written where the checkpoint could not say it: for an async route, and where it is asked anew.
    """

    form_inside: ClassVar[int] = 4
    node: str = ""
    visit: int = 1
    next: str | None = None
    answer: str = ""
    seconds: float = 0.0


class Planned(Record, tag="planned"):
    """The items that a node is going to work through."""

    name: str = ""
    keys: tuple[str, ...] = ()
    body: dict[str, Any] = field(default_factory=dict)


class Item(Record, tag="item"):
    """An item of the node in flight is finished, with this result.

    A step of a chain may tell how it differs from the one with the key ``after``: its ``value`` has grown from that
    one's, or is the same where there is none. Of a chain over states it is the keys that are ``changed`` and
    ``removed``.
    """

    name: str = ""
    key: str = ""
    value: Stored | None = None
    seconds: float = 0.0
    body: dict[str, Any] = field(default_factory=dict)
    after: str = ""
    changed: dict[str, Stored] = field(default_factory=dict)
    removed: tuple[str, ...] = ()


EARLY: Final = "early"
"""In the body of a pause that is stored while other branches of its node work: the run does not wait yet."""


class Pause(Record, tag="pause"):
    """The run waits for an answer, to a node of the graph (without a scope) or from inside of one.

    ``value`` is what counts as the answer after the ``deadline``, ``asked`` when it was first asked for, ``refused``
    why an answer that was given did not fit; ``form`` is a JSON schema. ``attempt`` counts the attempts at the visit,
    of which the one that paused is none.
    """

    form_at_least: ClassVar[int] = 3
    name: str = ""
    value: Stored | None = None
    body: dict[str, Any] = field(default_factory=dict)
    attempt: int = 0
    asked: float = 0.0
    deadline: float | None = None
    prompt: str = ""
    refused: str = ""
    form: dict[str, Any] | None = None


class Answer(Record, tag="answer"):
    """The answer to a pause, who gave it, and what they changed in the state."""

    form_at_least: ClassVar[int] = 3
    name: str = ""
    value: Stored | None = None
    body: dict[str, Any] = field(default_factory=dict)
    by: str = ""
    changed: dict[str, Stored] = field(default_factory=dict)


class Failed(Record, tag="failed"):
    """The run failed at this node, of which that many attempts were made."""

    form_inside: ClassVar[int] = 4
    node: str = ""
    failure: Failure | None = None
    attempt: int = 1


WALLTIME: Final = "max_runtime"
"""The reason of a run that was stopped because its time was up."""

DRAIN: Final = "drain"
"""The reason of a run that was stopped because its worker was told to end."""

ANSWERED: Final = "answered"
"""The reason of a run that was about to ask what was answered in the meantime."""

OF_NO_PERSON: Final = frozenset({WALLTIME, DRAIN, ANSWERED})
"""The reasons for which a run stopped without a person's wish that it should: a worker goes on with it."""


class Interrupted(Record, tag="interrupted"):
    """The run was stopped before this node, or in an attempt at it."""

    form_inside: ClassVar[int] = 4
    node: str = ""
    reason: str = ""
    attempt: int = 0


class Cancelled(Record, tag="cancelled"):
    """The run was ended for good."""

    reason: str = ""


class Finished(Record, tag="finished"):
    """The run reached this exit point."""

    form_inside: ClassVar[int] = 4
    node: str = ""


class Intent(Record, tag="intent"):
    """Reserved: an outside effect is about to happen."""

    name: str = ""
    body: dict[str, Any] = field(default_factory=dict)


class EffectDone(Record, tag="effect"):
    """Reserved: an outside effect happened."""

    name: str = ""
    body: dict[str, Any] = field(default_factory=dict)


class Message(Record, tag="message"):
    """Reserved: a message between runs."""

    name: str = ""
    body: dict[str, Any] = field(default_factory=dict)


AnyRecord = (
    Admitted | Claimed | CheckpointRecord | Routed | Planned | Item | Pause | Answer | Failed | Interrupted | Cancelled
    | Finished | Intent | EffectDone | Message
)  # fmt: skip


def advance(progress: Progress, node: str, visit: int, following: str | None) -> None:
    """Note that a visit of ``node`` is finished and which node comes next."""
    progress.iteration += 1
    progress.node = node
    progress.next = following
    progress.crashes = progress.items = progress.stuck = 0
    progress.visits[node] = visit
    path = progress.path
    path.append(node)
    if len(path) > _LONGEST_PATH:
        del path[:-PATH_LIMIT]
    if following is not None:
        progress.taken.add((node, following))


def follow(progress: Progress, node: str, following: str | None) -> None:
    """Note which node comes after the newest visit, one of ``node``, where that was not known at its end."""
    progress.next = following
    progress.crashes = progress.stuck = 0
    if following is not None:
        progress.taken.add((node, following))
