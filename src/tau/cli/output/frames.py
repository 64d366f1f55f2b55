"""Where an error comes from: the user's own lines, not those of tau, of Python or of a library that they called."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable
from pathlib import Path

from tau.events import frames_of

Frame = tuple[str, int, str]
"""File, line and function."""

_OWN = f"{Path(__file__).parents[2]}/"
_INSTALLED = ("/site-packages/", "/dist-packages/")
_STANDARD = sysconfig.get_paths()["stdlib"] + "/"


def where(error: BaseException) -> str:
    """The place of an error, as in ``pipeline.py:31 in analyze``; empty where nothing is known of it.

    It is the innermost line of the user's, or else the innermost that is not tau's; of a `SyntaxError` the line that
    cannot be read.
    """
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{error.filename}:{error.lineno or 1}"
    frames = without_tau(frames_of(error)[0])
    frames = [frame for frame in frames if not frame[0].startswith("<")]
    theirs = [frame for frame in frames if not _is_library(frame[0])] or frames
    return "{}:{} in {}".format(*theirs[-1]) if theirs else ""


def without_tau(frames: Iterable[Frame], *, tells_more: bool = False) -> list[Frame]:
    """The frames that are not tau's; where there is no other all of them, unless what it was raised from
    ``tells_more``."""
    found = list(frames)
    return [frame for frame in found if not _is_tau(frame[0])] or ([] if tells_more else found)


def is_of_tau(error: BaseException) -> bool:
    """Whether no line but tau's has to do with it."""
    frames = frames_of(error)[0]
    return bool(frames) and all(_is_tau(frame[0]) for frame in frames)


def _is_tau(file: str) -> bool:
    # A stored frame may be of another machine, or of another place on this one.
    return file.startswith(_OWN) or any(f"{place}tau/" in file for place in _INSTALLED)


def _is_library(file: str) -> bool:
    return file.startswith(_STANDARD) or any(place in file for place in _INSTALLED)
