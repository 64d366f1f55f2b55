"""Notes on errors that reach the caller: how to go on, where the error's own words cannot say it."""

from __future__ import annotations

import os
from errno import EACCES, EPERM

from tau.engine.effects import RunRequest
from tau.errors import (
    GraphChangedError,
    LeaseLostError,
    RunCancelledError,
    RunWaitingError,
    SchemaError,
    StoreError,
    UnserializableError,
    leaves,
)
from tau.graph.nodes import Node
from tau.late_imports import load_module
from tau.log.records import Progress


def explain(error: BaseException, artifacts: str | None, node: Node | None = None) -> None:
    """Note on what a ``node`` raised what to do, where it comes from what the node was given, and where the node is,
    where tau refused what it returned; ``artifacts`` is the directory of these."""
    has_graphs = node is not None and node.inside is not None
    is_refused = isinstance(error, UnserializableError | SchemaError) or not (error.__traceback__ or error.__cause__)
    if node is not None and is_refused and (place := _place(node)):
        _note(error, f"the function of the node is {place}")
    for one in leaves(error):
        text = str(one.args[0]) if one.args else ""
        if isinstance(one, ValueError) and text.endswith("is read-only"):
            _note(one, "an array of the state is not changed in place: work on a copy, as in "
                       "array = state['name'].copy(), and return it")  # fmt: skip
        elif isinstance(one, TypeError) and "can't be used in 'await' expression" in text:
            _note(one, "where that is ctx.step(name, function): it is awaited for an async function only; call it "
                       "without await for another one, or give it an async one")  # fmt: skip
        elif isinstance(one, SchemaError) and has_graphs:
            _note(one, "the graphs inside this node are finished, and a resume takes what they set as it is: correct "
                       "what sets it, then resume with on_change='redo', which does all of the node anew and asks its "
                       "questions again")  # fmt: skip
        elif isinstance(one, OSError) and one.errno in (EACCES, EPERM) and artifacts and _names(one, artifacts):
            _note(one, "an artifact is not changed in place once its block has ended: read it, and write what is new "
                       "as another artifact, with ctx.artifact(name) as path: ...")  # fmt: skip


def _place(node: Node) -> str:
    """File, line and name of a node's function; empty where it is none of Python, or of a graph inside."""
    code = getattr(node.function, "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno} ({code.co_name})"


def _names(error: OSError, directory: str) -> bool:
    """Whether the error is about a file in that directory; libraries may name it in their words alone."""
    place = os.path.realpath(directory)
    files = [os.path.realpath(name) for name in (error.filename, error.filename2) if isinstance(name, str)]
    return any(file.startswith(place + os.sep) for file in files) or place + os.sep in str(error)


def say_how_to_go_on(error: BaseException, request: RunRequest, progress: Progress) -> None:
    """Note on what ends a run that was begun and is not finished where it is kept and what goes on with it."""
    if isinstance(error, LeaseLostError | RunCancelledError | RunWaitingError):
        return
    if isinstance(error.__cause__, GraphChangedError):  # which says more of it
        return
    done = progress.iteration
    upto = f", up to {progress.node!r} ({done} visit{'' if done == 1 else 's'} finished)" if progress.node else ""
    goes_on = f"graph.resume({request.run_id!r})"
    if request.location.startswith(("sqlite:", "file:")):
        load_module("shlex")
        import shlex

        words = ["tau", "resume", "--store", request.location, *(["--"] if request.run_id.startswith("-") else [])]
        command = shlex.join([*words, request.run_id])
        goes_on += f", or in a shell {command} FILE.py:GRAPH"
    place = "memory until this process ends" if request.location == "memory:" else request.location
    when = "once its store can be used again, " if isinstance(error, StoreError) else ""
    _note(error, f"run {request.run_id!r} is kept in {place}{upto}: {when}{goes_on} continues it")


def _note(error: BaseException, text: str) -> None:
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)
