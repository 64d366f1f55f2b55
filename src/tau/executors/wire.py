"""What travels between the process of a map and its workers: functions, values, errors.

Values go by the codecs of the state where they can. All else is pickled: between a process and workers that it started
or chose itself, which trust each other. Nothing that was stored comes this way, and nothing from here is stored before
it was decoded and encoded again.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing import process
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from msgspec import Struct

from tau.errors import ConfigError, ExecutorError, RemoteError, UnserializableError
from tau.events import text_of
from tau.executors.afar import About
from tau.graph.fingerprint import CodeFingerprint, of_code
from tau.late_imports import load_module
from tau.values import Refused, decode, encode

LONGEST: Final = 20_000
"""How much of the text of a traceback is sent: the end of it."""

MOST: Final = 20
"""How many of its frames, the innermost ones."""

_TAU: Final = f"{Path(__file__).parents[1]}{os.sep}"

REMEDY: Final = (
    "define it at the top level of a module that can be imported, or `pip install cloudpickle`, with which it is sent "
    "whole"
)


class Sent(Struct, frozen=True, array_like=True):
    """A value on its way; ``is_pickled``, or else encoded."""

    is_pickled: bool
    data: bytes


class SentFunction(Struct, frozen=True, array_like=True):
    """A function on its way. ``file`` is where its ``module`` was loaded from, for one that no import finds."""

    data: bytes
    code: CodeFingerprint
    is_async: bool = False
    module: str = ""
    file: str = ""

    @property
    def needs_main(self) -> bool:
        """Whether it, or what it holds, is of the script that was started."""
        return mentions_main(self.data)


class SentError(Struct, frozen=True, array_like=True):
    """An error on its way: what is said of it, and, where that is possible, itself. ``places`` are its frames (file,
    line, function); ``is_all``: ``frames`` tells of no other error."""

    type_name: str
    text: str
    frames: str
    data: bytes = b""
    places: tuple[tuple[str, int, str], ...] = ()
    is_all: bool = False


class Setup(Struct, frozen=True, array_like=True):
    """What a worker process is told first: ``where`` it is to find itself, and the script that its parent started, both
    as `multiprocessing.spawn.prepare` takes them."""

    function: SentFunction
    where: dict[str, Any]
    main: dict[str, str]


class Job(Struct, frozen=True, array_like=True):
    """One item to be worked on."""

    item: Sent
    about: About | None


class Answer(Struct, frozen=True, array_like=True):
    """What a worker says: what became of an item; nothing at all, when it is ready. ``again``: the item is of a class
    that is not registered there; pickled it may arrive. ``unready``: the error is that the function is not there."""

    value: Sent | None = None
    error: SentError | None = None
    again: bool = False
    unready: bool = False


def packed(value: Any, what: str, *, by_codecs: bool = True, has_script: bool | None = None) -> Sent:
    """A value to be sent, to a place that ``has_script``, the script that was started here. Raises
    `UnserializableError`; ``what`` says what it is."""
    refused: Refused | None = None
    if by_codecs:
        try:
            return Sent(False, encode(value))
        except Refused as error:
            refused = error
    try:
        return Sent(True, _pickled(value, bool(script()) if has_script is None else has_script))
    except Exception as error:
        reason = f"{type(error).__name__}: {text_of(error)}"
        if refused is not None:
            reason = f"{refused.reason}; and pickled neither, {reason}"
        type_name = type(value).__name__ if refused is None else refused.type_name
        raise UnserializableError(
            f"{what} cannot be sent to or from a worker process, as a {type_name} in it cannot be encoded: {reason}",
            type_name=type_name,
        ) from error


def _pickled(value: Any, has_script: bool) -> bytes:
    """With cloudpickle, if it is installed, what pickle cannot take or would not be found there."""
    data, failure = b"", None
    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        if has_script or not mentions_main(data):
            return data
    except Exception as error:
        failure = error
    try:
        load_module("cloudpickle")
        import cloudpickle
    except ImportError:
        if failure is not None:
            raise failure from None
        return data
    whole: bytes = cloudpickle.dumps(value)
    return whole


def unpacked(sent: Sent) -> Any:
    """The value. Raises whatever its codec or class does."""
    return pickle.loads(sent.data) if sent.is_pickled else decode(sent.data)


def mentions_main(data: bytes) -> bool:
    """Whether what is pickled there is looked up in the script that was started."""
    return b"__main__" in data or b"__mp_main__" in data


def packed_function(
    function: Callable[[Any], Any], named: str, is_async: bool, has_script: bool | None = None
) -> SentFunction:
    """A function to be sent; as for `packed`. Raises `ConfigError`, which says what it is of, where that cannot be
    done."""
    data = _by_name(function, bool(script()) if has_script is None else has_script)
    if data is None:
        data = _whole(function, named)
    module = getattr(_inside(function), "__module__", "") or ""
    file = getattr(sys.modules.get(module), "__file__", None) if module != "__main__" else None
    return SentFunction(data, of_code(function), is_async, module if file else "", file or "")


def unpacked_function(sent: SentFunction) -> Callable[[Any], Any]:
    """The function. Raises `ExecutorError` for one that is another here, and what importing it raises."""
    if sent.file:
        _load_file(sent.module, sent.file)
    function: Callable[[Any], Any] = pickle.loads(sent.data)
    if not _are_same(sent.code, of_code(function)):
        raise ExecutorError(
            f"{_named(function)} is another function in the worker than where the map is: its code was edited, or "
            "another version of its module is installed; let both run the same code"
        )
    return function


def _by_name(function: Any, has_script: bool) -> bytes | None:
    """How it is looked up there; ``None`` where that would not find it."""
    try:
        data = pickle.dumps(function, pickle.HIGHEST_PROTOCOL)
    except Exception:
        return None
    return data if has_script or not mentions_main(data) else None


def script() -> dict[str, str]:
    """How a worker finds the script that was started here, as `multiprocessing.spawn.prepare` takes it; empty where
    there is none, as in a notebook."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return {"init_main_from_name": spec.name}
    file = getattr(main, "__file__", None)
    path = os.path.normpath(os.path.join(process.ORIGINAL_DIR or "", file or ""))  # type: ignore[attr-defined]
    return {"init_main_from_path": path} if file and os.path.isfile(path) else {}


def _whole(function: Any, named: str) -> bytes:
    try:
        load_module("cloudpickle")
        import cloudpickle
    except ImportError:
        raise ConfigError(
            f"{named}: worker processes cannot import {_named(function)} from where it is defined; {REMEDY}"
        ) from None
    try:
        data: bytes = cloudpickle.dumps(function)
    except Exception as error:
        raise ConfigError(
            f"{named}: {_named(function)} cannot be sent to worker processes, as it holds what cannot be pickled "
            f"({type(error).__name__}: {text_of(error)}); make that inside the function, from plain arguments"
        ) from error
    return data


def _inside(function: Any) -> Any:
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    return function if hasattr(function, "__qualname__") else type(function)


def _named(function: Any) -> str:
    found = _inside(function)
    return f"{found.__module__}.{found.__qualname__}"


def _load_file(module: str, file: str) -> None:
    """Load a module that an import would not find, or not that one, as it was loaded where the map is."""
    with suppress(Exception):
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin == file:
            return
    spec = importlib.util.spec_from_file_location(module, file)
    if spec is None or spec.loader is None:
        return
    sys.modules[module] = made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)


def _are_same(one: CodeFingerprint, other: CodeFingerprint) -> bool:
    (bytecode, tree), (its_bytecode, its_tree) = one.digests, other.digests
    if one.python == other.python:
        return bytecode == its_bytecode
    return tree is None or its_tree is None or tree == its_tree


def packed_error(error: BaseException, skip: int) -> SentError:
    """An error to be sent; the first ``skip`` frames of its traceback are those of who caught it."""
    at = error.__traceback__
    for _ in range(skip):
        at = at.tb_next if at is not None else None
    at = _without_tau(at)
    try:
        frames = "".join(traceback.format_exception(type(error), error, at))[-LONGEST:]
    except Exception:  # of its own __str__
        frames = ""
    data = b""
    with suppress(Exception):
        data = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
        if type(pickle.loads(data)) is not type(error):
            data = b""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    found = traceback.extract_tb(at)[-MOST:]
    places = tuple((text_of(one.filename), one.lineno or 0, one.name) for one in found)
    is_alone = error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)
    is_all = is_alone and not isinstance(error, BaseExceptionGroup)
    return SentError(name, text_of(error), frames, data, places, is_all)


def _without_tau(at: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is not tau's; the whole one, where there is no other."""
    first = at
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_TAU):
        first = first.tb_next
    return first or at


class _Traceback(Exception):
    """Shows the frames of another process as the cause of what they raised. ``frames_there`` and ``is_all`` are for
    `tau.events.frames_of`."""

    def __init__(self, frames: str, frames_there: tuple[tuple[str, int, str], ...], is_all: bool) -> None:
        super().__init__(frames)
        self.frames_there, self.is_all = frames_there, is_all

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def unpacked_error(sent: SentError) -> BaseException:
    """The error, caused by what shows its frames; a `RemoteError` where it could not be sent itself."""
    error: BaseException | None = None
    if sent.data:
        with suppress(Exception):
            found = pickle.loads(sent.data)
            error = found if isinstance(found, BaseException) else None
    if error is None:
        said = f"{sent.type_name}: {sent.text}" if sent.text else sent.type_name
        error = RemoteError(said, type_name=sent.type_name, frames=sent.frames)
    error.__cause__ = _Traceback(sent.frames, sent.places, sent.is_all)
    return error
