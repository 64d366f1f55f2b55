"""How a command ends: its exit code, and what it says about an error."""

from __future__ import annotations

import functools
import logging
import re
import shlex
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from msgspec import Struct

from tau import state
from tau.cli.beside import said_beside
from tau.cli.causes import SHOWN as CAUSES_SHOWN
from tau.cli.causes import Cause, causes, change_inside, said_of
from tau.cli.exits import Exit, discard_output, unwritten
from tau.cli.output import screen
from tau.cli.output.frames import where
from tau.engine.stop import StopNow
from tau.errors import (
    AnsweredError,
    AnswerError,
    CheckpointNotFoundError,
    ConfigError,
    CorruptCheckpointError,
    ExecutionError,
    GraphChangedError,
    GraphError,
    LeaseLostError,
    LimitExceededError,
    PauseExpiredError,
    PauseNotFoundError,
    RunCancelledError,
    RunExistsError,
    RunFinishedError,
    RunInterruptedError,
    RunOwnedError,
    RunWaitingError,
    SchemaError,
    StoreError,
    TauError,
    UnserializableError,
    UnsupportedFormatError,
)
from tau.events import text_of

# The first line that fits decides.
_CODES: tuple[tuple[tuple[type[BaseException], ...], Exit], ...] = (
    ((RunInterruptedError,), Exit.INTERRUPTED),
    ((ExecutionError,), Exit.FAILED),
    ((CheckpointNotFoundError,), Exit.NOT_FOUND),
    ((PauseNotFoundError,), Exit.NOT_FOUND),
    ((AnsweredError, PauseExpiredError), Exit.REFUSED),
    (
        (RunExistsError, RunOwnedError, GraphChangedError, RunCancelledError, RunWaitingError, LeaseLostError,
         LimitExceededError),
        Exit.REFUSED,
    ),
    ((StoreError, CorruptCheckpointError, UnsupportedFormatError), Exit.STORE),
    ((ConfigError, GraphError, UnserializableError, SchemaError, AnswerError), Exit.USAGE),
    ((TauError,), Exit.FAILED),
    ((KeyboardInterrupt,), Exit.CTRL_C),
    ((Exception,), Exit.INTERNAL),
)  # fmt: skip

_REMEDIES: tuple[tuple[type[BaseException], str], ...] = (
    (RunExistsError, "--if-exists resume continues that run; without --run-id the new run gets an id of its own"),
    (RunOwnedError, "--wait SECONDS waits for its owner; tau cancel ends the run for good"),
    (RunCancelledError, "tau run without --run-id starts a new run"),
    (PauseNotFoundError, "tau pauses lists what waits for an answer"),
    (CheckpointNotFoundError, "tau runs lists what a store holds; --store names another store"),
)  # fmt: skip

_ON_CHANGE = re.compile(r"graph\.resume\('[^']*', on_change='(\w+)'\)|on_change='(\w+)'")
_MISSING = re.compile(r"(?:the state lacks )?(.+?)(?: is not in the state)?; it holds ")

_RESUMABLE = (ExecutionError, RunInterruptedError, RunExistsError, RunWaitingError, StoreError)


class Session(Struct):
    """One invocation: how it is to report, and what an error message should know by then.

    ``started`` tells whether the run is in the store; ``resume`` is the command line that goes on with it, ``begins``
    whether this is another one, ``hides`` whether the password of the store is left out of it; ``is_default``: no store
    was named on the command line. ``done`` says what is true already, should the output be impossible to write.
    ``refused`` are the lines of a file that cannot be used, with the reasons.
    """

    as_json: bool = False
    traceback: bool = False
    run_id: str = ""
    store: str = ""
    resume: str = ""
    begins: bool = False
    hides: bool = False
    started: bool = False
    done: str = ""
    is_default: bool = False
    refused: list[dict[str, Any]] = []


def reporting(function: Callable[..., int]) -> Callable[..., int]:
    """Make a command report its errors: it gets a `Session` first, and `--json` and `--traceback` are taken out."""

    @click.option("--traceback", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def command(*, traceback: bool, as_json: bool = False, **options: Any) -> int:
        session = Session(as_json=as_json, traceback=traceback)
        try:
            screen.prepare()
            code = function(session, **options)
            screen.flush()
            return code
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BrokenPipeError:  # the reader of the output has seen enough, as in `tau runs | head`
            discard_output()
            return Exit.DONE
        except screen.Unwritten as error:
            return unwritten(error, session.done)
        except BaseException as error:
            return report(error, session)

    return command


@contextmanager
def said_here(what: str) -> Iterator[None]:
    """While the block runs, the log leaves out what the command says itself: ``what`` is told by an event of that type,
    or by the ``warnings`` of a graph."""

    def is_left(record: logging.LogRecord) -> bool:
        return getattr(record, "told", "") != what

    log = logging.getLogger("tau")
    log.addFilter(is_left)
    try:
        yield
    finally:
        log.removeFilter(is_left)


def exit_code(error: BaseException) -> Exit:
    """The exit code that stands for an error; whatever else leaves a node, as ``SystemExit`` does, interrupts."""
    reason = (
        error.reason if isinstance(error, RunInterruptedError) else str(error) if isinstance(error, StopNow) else ""
    )
    if reason.endswith("SIGINT"):
        return Exit.CTRL_C
    told = change_inside(error) or error
    return next((code for kinds, code in _CODES if isinstance(told, kinds)), Exit.INTERRUPTED)


def report(error: BaseException, session: Session) -> int:
    """Say what happened, on stderr, and with ``--json`` also as a document on stdout; returns the exit code."""
    code = exit_code(error)
    raised, node = error, getattr(error, "node", None)
    behind = [] if (change := change_inside(error)) else causes(error)
    error = change or error
    said = message(error)
    word, style = ("interrupted", "yellow") if code in (Exit.INTERRUPTED, Exit.CTRL_C) else ("error", "bold red")
    if isinstance(error, RunWaitingError):
        word, style = "waiting", "yellow"
    first, *more = said.splitlines() if isinstance(error, GraphChangedError) else [said]
    screen.line((f"{word}: ", style), first, error=True)
    for text in (text for text in more if not text.startswith("What to do: ")):
        screen.line("  ", text, error=True)
    told = {}
    for label, text in _details(error, behind, session, code):
        screen.note(label, text)
        told[label] = text
    note_left_out(session, said, *told.values())
    if session.traceback:
        shown = traceback.TracebackException.from_exception(raised)
        shown.__notes__ = []  # what to do is said here in commands
        for text in "".join(shown.format()).splitlines():
            screen.line("  ", text, error=True)
    if session.as_json:
        try:
            found = _as_document(error, session, code, behind)
            found["error"] |= {"node": node} if node else {}
            screen.document(found | ({"resume": told["resume"]} if "resume" in told else {}))
            screen.flush()
        except BrokenPipeError:  # the exit code still tells
            discard_output()
        except screen.Unwritten as full:
            unwritten(full)
    return code


def message(error: BaseException) -> str:
    """The error's own words, without what they advise in Python; the type where it has none, or where they say nothing
    without it."""
    text = str(error)
    if isinstance(error, TauError) and text:
        return in_options(text.removesuffix(f"; {error.hint}") if error.hint else text)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def in_options(text: str) -> str:
    """``text`` with the arguments of Python that it advises as options of the command."""
    return _ON_CHANGE.sub(lambda found: f"--on-change {found[1] or found[2]}", text)


def remedy(error: BaseException, session: Session | None = None) -> str:
    """What to do on the command line, where the error's own words cannot say it."""
    if session is not None and (way_out := _anew(error, session)):
        return way_out
    if isinstance(error, GraphChangedError):
        ways = "; or ".join(map(in_options, error.ways))
        if session is not None and session.begins and "--on-change" in ways:
            return f"{ways}. That is an option of: {session.resume}"
        return ways
    if session is not None and isinstance(error, RunOwnedError) and not session.resume:
        cancel = _command("cancel", session)  # this command does not wait
        return f"stop its process (Ctrl-C, SIGTERM), so that it can be resumed later; {cancel} ends the run for good"
    if isinstance(error, RunOwnedError) and (least := re.search(r"at least (\S+) s", error.hint)):
        return f"--wait {least[1]}, or more, waits for its owner; tau cancel ends the run for good"
    known = [] if getattr(error, "moved_to", "") else _REMEDIES  # its own words say it
    return next((text for kind, text in known if isinstance(error, kind)), "")


def _anew(error: BaseException, session: Session) -> str:
    """What to do where the run of that id cannot go on as it is."""
    if isinstance(error, RunExistsError) and not session.run_id:  # as an archive names it
        session.run_id = error.run_id
    delete, answer = _command("delete", session), _command("answer", session)
    if isinstance(error, RunExistsError) and not session.resume:  # what is put into a store under that id
        return f"--as NEW gives it another id; {delete} frees this one"
    if isinstance(error, RunExistsError) and (error.differs or not error.resumable):
        return f"{delete} frees the id; without --run-id the new run gets an id of its own"
    if isinstance(error, RunFinishedError):
        return f"to do the work again, use another run id, or {delete}; preserve=True in the graph keeps results"
    if isinstance(error, RunWaitingError):
        name = shlex.quote(error.pauses[0]) if error.pauses else "NAME"
        return f"{answer} {name} --value JSON, or --set FIELD=VALUE for a form; tau pauses shows what is asked"
    if isinstance(error, ExecutionError) and (key := _missing_key(error.__cause__)):
        named = re.fullmatch(r"'([^'=]+)'", key)
        given = shlex.quote(f"{named[1] if named else 'NAME'}=VALUE")
        then = f"{delete}, then tau run with --set {given}"
        if len(error.path) > 1 and session.resume:  # what is finished is kept
            words = shlex.split(session.resume)
            then = f"{shlex.join([words[0], 'fork', *words[2:]])} --set {given}, then resume the run that it begins"
        return f"if {key} should have been in the input, which never changes: {then}"
    return ""


def _command(verb: str, session: Session) -> str:
    """The command line that does something to the run of this session."""
    store = [] if session.is_default else ["--store", session.store]
    return shlex.join(["tau", verb, *store, *(["--"] if session.run_id.startswith("-") else []), session.run_id])


def _missing_key(cause: BaseException | None) -> str:
    """The key that a node failed to read, as the state does not hold it; empty if it failed for another reason."""
    frames = traceback.extract_tb(cause.__traceback__) if isinstance(cause, KeyError) else []
    if cause is None or not frames or frames[-1].filename != state.__file__:
        return ""
    said = _MISSING.match(str(cause.args[0]))
    return said[1] if said else "that key"


def _details(error: BaseException, behind: list[Cause], session: Session, code: Exit) -> Iterator[tuple[str, str]]:
    if not isinstance(error, StoreError | RunInterruptedError | ConfigError):
        told = "" if isinstance(error, ExecutionError) else message(error)
        behind = [one for one in behind if not (text_of(one[1]) and text_of(one[1]) in told)]
        for one in behind[:CAUSES_SHOWN]:
            yield "cause", in_options(said_of(one, public_name(one[1]), str(error) if len(behind) == 1 else ""))
        if len(behind) > CAUSES_SHOWN:
            yield "cause", f"and {len(behind) - CAUSES_SHOWN} more; tau show has them"
    if code == Exit.INTERNAL:
        yield "at", where(error)
    if way_out := remedy(error, session):
        yield "remedy", way_out
    if isinstance(error, CheckpointNotFoundError) and session.store:
        yield "store", session.store
        if session.is_default and (others := said_beside(session.store)):
            yield "others", others
    resumable = isinstance(error, _RESUMABLE) or not isinstance(error, TauError)
    kept = session.store != "memory:" and (session.started or isinstance(error, RunExistsError))
    if session.resume and resumable and kept and getattr(error, "resumable", True):
        yield "resume", session.resume


def note_left_out(session: Session, *said: str) -> None:
    """Remark that a password is missing in the commands that were just printed, where it is."""
    if session.hides and any(" --store " in one for one in said):
        screen.note("store", "the password is left out above; instead of --store, set TAU_STORE to the whole URL")


def _as_document(error: BaseException, session: Session, code: Exit, behind: list[Cause]) -> dict[str, Any]:
    details: dict[str, Any] = {"type": type(error).__name__, "message": message(error)}
    cause = behind[0][1] if len(behind) == 1 else error.__cause__ if behind else None  # of several, what holds them
    if cause is not None and not isinstance(cause, StopNow):
        details["cause"] = {"type": public_name(cause), "message": str(cause)}
    run = {"run_id": session.run_id, "store": session.store} if session.run_id else {}
    refused = {"refused": session.refused} if session.refused else {}
    return {**run, "error": details, **refused, "exit_code": int(code)}


def public_name(error: BaseException) -> str:
    """The type of an error; for one of tau's own that is not for users, the first of its bases that is."""
    kinds = (kind for kind in type(error).__mro__ if _is_public(kind.__module__))
    return next(kinds).__name__


def _is_public(module: str) -> bool:
    """Whether classes of that module are for users: those of others, and of `tau.errors` and its like."""
    return module.partition(".")[0] != "tau" or module.endswith(".errors")


def refuse(session: Session, text: str) -> Exit:
    """Say that nothing was done, without an error of Python behind it; returns the exit code."""
    complain(text)
    if session.as_json:
        found = {"error": {"type": TauError.__name__, "message": text}, "exit_code": int(Exit.REFUSED)}
        screen.document({"run_id": session.run_id, "store": session.store, **found})
    return Exit.REFUSED


def complain(text: str) -> None:
    """A remark on stderr that is not an error."""
    screen.line(("note: ", "yellow"), text, error=True)
