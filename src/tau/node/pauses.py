"""Asking people: `Context.ask`, and what a node that asked leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from tau.checks import checked_name, refused
from tau.errors import ConfigError, leaves
from tau.log.pauses import PauseState, expired
from tau.log.records import Pause, Scope
from tau.node.current import RunNode, item_here
from tau.node.forms import Form
from tau.node.paused import NOTHING, Paused
from tau.node.step import at_point
from tau.schema.fields import Misfit
from tau.spelling import names_keywords
from tau.values import Refused, encode
from tau.values.stored import StoredValue, alone

if TYPE_CHECKING:
    from tau.node.steps import StepRunner


Deadline = datetime | timedelta | float | None
"""A UTC time, or how long after the question: a timedelta, or seconds."""


_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC)


class Question:
    """What is asked: the form of the answer, until when it may come, and what counts after that."""

    __slots__ = ("deadline", "default", "form", "prompt")

    def __init__(self, name: str, form: Any, deadline: Deadline, default: Any, prompt: str) -> None:
        """Raises `ConfigError` for what cannot be used."""
        where = f"pause {checked_name('the name of a pause', name)!r}"
        self.form = form if isinstance(form, Form) else Form(where, form)
        self.deadline = _checked_deadline(where, deadline)
        if not isinstance(prompt, str):
            raise refused(f"{where}: prompt", prompt, "text")
        self.prompt = prompt
        self.default: bytes | None = None
        if default is NOTHING:
            return
        if deadline is None:
            raise ConfigError(f"{where}: a default counts after the deadline; give deadline=, or no default")
        try:
            self.default = encode(self.form.plain(default))
        except Misfit as error:
            raise ConfigError(f"{where}: the default does not fit the form: {error}") from None
        except Refused as error:
            raise ConfigError(f"{where}: the default cannot be stored: default{error.path}: {error.reason}") from None

    def until(self, now: float) -> float | None:
        """The deadline in Unix seconds, if it is asked now."""
        if isinstance(self.deadline, datetime):
            return self.deadline.timestamp()
        return None if self.deadline is None else now + self.deadline

    def asked(
        self,
        scope: Scope,
        name: str,
        attempt: int,
        now: float,
        *,
        before: PauseState | None = None,
        refusal: str = "",
    ) -> tuple[Pause, StoredValue | None]:
        """The record of it, and the cell of its default; ``before`` is the same question as it was asked before."""
        cell = None if self.default is None else alone(self.default)
        record = Pause(
            scope=scope,
            name=name,
            value=None if cell is None else cell.change,
            attempt=attempt,
            asked=now if before is None else before.asked,
            deadline=self.until(now) if before is None else before.deadline,
            prompt=self.prompt,
            refused=refusal or (before.refused if before is not None else ""),
            form=self.form.schema,
        )
        return record, cell


def _checked_deadline(where: str, deadline: Any) -> datetime | float | None:
    if isinstance(deadline, datetime):
        if deadline.tzinfo is None:
            raise ConfigError(f"{where}: the deadline {deadline} has no time zone; give datetime(..., tzinfo=UTC)")
        if not _EARLIEST < deadline < _LATEST:
            raise ConfigError(f"{where}: the deadline {deadline} cannot be stored; leave it out for none")
        return deadline
    if isinstance(deadline, timedelta):
        deadline = deadline.total_seconds()
    if deadline is None:
        return None
    if isinstance(deadline, bool) or not isinstance(deadline, int | float) or not 0 < deadline < 1e10:
        raise refused(f"{where}: deadline", deadline, "a time with a time zone, a timedelta or seconds above 0")
    return float(deadline)


class Asked:
    """What one attempt at a visit has asked and got no answer to. Thread-safe."""

    def __init__(self, runner: StepRunner) -> None:
        self._runner = runner
        self._names: dict[str, Scope] = {}
        self.waits: list[tuple[Pause, StoredValue | None]] = []
        self.changes: dict[str, Any] = {}
        """What the answers changed in the state that a replay was given."""

    def ask(self, name: str, question: Question, *, whole: bool = False) -> Any:
        """The answer, as the form has it; ``whole`` for a node that is nothing but the question: as the state keeps
        it. Raises `Paused` while there is none."""
        runner = self._runner
        if runner.journal is None:
            raise ConfigError(
                f"node {runner.node!r} asks {name!r}, and its run has no store in which it could wait for the answer; "
                "give the graph one, as in StateGraph(name, store='sqlite:///runs.db')"
            )
        at_point(runner)
        scope = self._enter(name)
        read = question.form.kept if whole else question.form.taken
        state = runner.journal.pauses.get(name)
        if state is None and runner.journal.parent is not None:
            parent, place = runner.journal.parent, scope or runner.of_visit(name)
            if (found := parent.answer(place, name)) is not None:
                with suppress(Misfit):  # it is as if it had not been answered
                    answer = read(found.value.open()[0])
                    self.changes.update((key, cell.open()[0]) for key, cell in found.changed.items())
                    return answer
            parent.check(f"an answer to {name!r}", f"node {runner.node!r} (visit {runner.visit})", place)
        if state is not None and state.scope != scope and (_is_inside(runner) or not whole):
            raise ConfigError(
                f"node {runner.node!r} asks {name!r} in two places of one visit, and the answer to the one would be "
                "given to the other; give each question a name of its own, such as one with the item in it"
            )
        if state is not None and state.answer is not None:
            try:
                return read(state.answer.open()[0])
            except Misfit as error:
                raise self._wait(name, question, None, whole, f"the answer of {state.by}: {error}") from None
        if state is not None and not state.is_open:
            state = None
        now = runner.now()
        deadline = question.until(now) if state is None else state.deadline
        if deadline is not None and deadline <= now:
            if question.default is not None:
                return read(alone(question.default).open()[0])
            raise expired(runner.run_id, name, deadline)
        raise self._wait(name, question, state, whole)

    def _enter(self, name: str) -> Scope:
        """Where the question belongs. A name is for one question of a visit; an item that is tried again may ask its
        own again."""
        runner, here = self._runner, item_here.get()
        scope: Scope = ()
        if here is not None and here.effect is runner.effect:
            scope = (*here.scope, (here.key, 0, name))
        if not scope or self._names.get(name) != scope:
            runner.enter(f"question {name}", name, self)
        self._names[name] = scope
        return scope or runner.of_visit(name)

    def _wait(self, name: str, question: Question, state: PauseState | None, whole: bool, refusal: str = "") -> Paused:
        runner = self._runner
        scope: Scope = () if whole and not _is_inside(runner) else self._names[name] or runner.of_visit(name)
        attempt = runner.effect.attempt - 1 if runner.effect is not None else 0
        self.waits.append(question.asked(scope, name, attempt, runner.now(), before=state, refusal=refusal))
        return Paused(f"pause {name!r} waits for an answer")

    def end(self, error: BaseException | None) -> BaseException | None:
        """What the attempt ended with: `Paused` where it is waiting for nothing else. `ConfigError` where the node went
        on although it should have waited."""
        if not self.waits:
            return error
        names = ", ".join(repr(record.name) for record, _ in self.waits)
        if error is None:
            return ConfigError(
                f"node {self._runner.node!r} went on after it asked {names}: something in it caught tau's Paused, a "
                "BaseException, and kept it; catch Exception instead, or raise it again"
            )
        if any(isinstance(one, Paused) for one in leaves(error)):
            return error if isinstance(error, Paused) else Paused(f"waits for an answer to {names}")
        return error


def _is_inside(runner: StepRunner) -> bool:
    """Whether its node is one of a graph inside another node."""
    return runner.effect is not None and bool(runner.effect.scope)


@names_keywords
def pause_node(
    name: str, *, form: Any = None, deadline: Deadline = None, default: Any = NOTHING, prompt: str = ""
) -> Callable[..., Any]:
    """A node at which the run waits for people: ``graph.add_node("review", pause_node("review", form=Approval))``.

    The run is stored with status ``waiting``, and `StateGraph.execute` raises `RunWaitingError`: the process may end.
    `StateGraph.answer` or the command ``tau answer`` gives the answer from any process, at any time; then
    `StateGraph.resume` goes on, and the state holds the answer under ``name``.

    ``form``: what the answer must look like, a pydantic model, a dataclass, or a type such as ``bool`` or
    ``Literal["approve", "reject"]``; without one, anything that can be stored. Of a class that is not registered with
    `register_type`, the state holds the fields in a dict. ``deadline``: a time with a time zone, or a timedelta or
    seconds from the question on. After it ``default`` counts as the answer; without a default the node fails with
    `PauseExpiredError`, and a resume asks anew. ``prompt``: what people are shown.

    Raises `ConfigError` for what cannot be used.

    >>> from typing import Literal
    >>> from tau import RunWaitingError, StateGraph, pause_node
    >>> graph = StateGraph("review", store="sqlite:///tau.db")
    >>> graph.add_node("review", pause_node("verdict", form=Literal["publish", "reject"], prompt="fit for print?"))
    >>> graph.sequence("review")
    >>> try:
    ...     graph.execute({}, run_id="review-1")
    ... except RunWaitingError:
    ...     graph.answer("review-1", "verdict", "publish")
    >>> graph.resume("review-1")["verdict"]
    'publish'
    """
    return PauseNode(name, Question(name, form, deadline, default, prompt))


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PauseNode:
    """A question as a node; see `pause_node`. What is asked is no part of the fingerprint, only its name is."""

    name: str
    question: Question
    asks: ClassVar[bool] = True

    def __call__(self, state: Any, ctx: Any) -> dict[str, Any]:
        answer, changes = ctx._ask(self.name, self.question, whole=True)
        return {**changes, self.name: answer}

    def again(self, answer: bytes | None, effect: RunNode, now: float, why: str) -> Any:
        """The question once more, as `Question.asked`, because the run cannot go on with that answer (its encoding);
        ``None`` where it is the default, which would come again."""
        default = self.question.default
        if answer is None:
            return None
        if default is not None and answer == encode(self.question.form.kept(alone(default).open()[0])):
            return None
        scope = effect.scope_of(self.name) if effect.scope else ()
        return self.question.asked(scope, self.name, effect.attempt - 1, now, refusal=why)

    def __repr__(self) -> str:
        return f"<pause_node {self.name!r}>"
