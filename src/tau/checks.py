"""Checks of configurations: each returns the value as it is kept, or raises a `ConfigError`.

The error names the key by its path, what was found and what is allowed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

from tau.errors import ConfigError
from tau.events import Observer
from tau.late_imports import load_module
from tau.spelling import did_you_mean

ObserverSpec = str | Observer | Sequence[str | Observer] | None
"""A registered name, a callable, a sequence of these, or ``None`` for no observer."""

MAX_NAME = 256
YEAR = 365 * 86400.0


def checked_name(path: str, value: Any, error: type[Exception] = ConfigError) -> str:
    """``value`` if it is a name: text of 1 to 256 characters without NUL or lone surrogates; else raises ``error``."""
    if not isinstance(value, str):
        raise error(f"{path} must be text, found {type(value).__name__}: {short(value)}")
    if not value:
        raise error(f"{path} cannot be empty")
    if len(value) > MAX_NAME:
        raise error(f"{path} has {len(value)} characters, at most {MAX_NAME} are allowed: {short(value)}")
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
        raise error(f"{path} cannot contain NUL or lone surrogates, found {short(value)}")
    return value


def checked_tags(tags: Any) -> tuple[str, ...]:
    """One tag or several, each once; each is a name as `checked_name` takes it. Raises `ConfigError`."""
    if isinstance(tags, (bytes, Mapping)) or not isinstance(tags, Iterable):
        raise refused("tags", tags, "a string or a list of strings")
    given = (tags,) if isinstance(tags, str) else tags
    return tuple(dict.fromkeys(checked_name("a tag", tag) for tag in given))


def checked_seconds(path: str, value: Any) -> float:
    """``value`` as float seconds above 0 and at most a year. Raises `ConfigError`."""
    return number(path, value, 0.0, YEAR, above=True)


def put(config: object, name: str, value: object) -> None:
    """Set a field of a frozen dataclass to its normalised value; for ``__post_init__`` only."""
    object.__setattr__(config, name, value)


def short(value: Any) -> str:
    """At most 80 characters of what ``value`` looks like. Raises nothing."""
    try:
        text = ascii(value)
    except Exception:
        text = "<no representation>"
    return text if len(text) <= 80 else text[:77] + "..."


def refused(path: str, value: Any, allowed: str) -> ConfigError:
    """The error for a value that is not what is ``allowed``."""
    return ConfigError(f"{path}: expected {allowed}, found {type(value).__name__}: {short(value)}")


def boolean(path: str, value: Any) -> bool:
    """``value`` if it is a bool; 0 and 1 are not. Raises `ConfigError`."""
    if not isinstance(value, bool):
        raise refused(path, value, "true or false (a bool)")
    return value


def directory(path: str, value: Any) -> str | None:
    """The absolute path of a directory, which need not exist; ``None`` for ``None``. Raises `ConfigError`."""
    found = os.fspath(value) if isinstance(value, os.PathLike) else value
    if found is not None and (not isinstance(found, str) or not found or "\0" in found):
        raise refused(path, value, "the path of a directory, or None (null in JSON) for none")
    return None if found is None else os.path.abspath(found)  # once: a node may go to another directory


def integer(path: str, value: Any, least: int) -> int:
    """``value`` as an int of ``least`` or more, in 64 bits. Raises `ConfigError`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) < 2**63:
        raise refused(path, value, f"an integer of {least} or more")
    return int(value)


def number(path: str, value: Any, least: float, most: float = math.inf, above: bool = False) -> float:
    """``value`` as a finite float from ``least`` (or ``above`` it) to ``most``. Raises `ConfigError`."""
    lower = f"above {least:g}" if above else f"of {least:g} or more"
    bound = "31,536,000 (a year in seconds)" if most == YEAR else f"{most:g}"
    allowed = f"a finite number {lower}" + (f", at most {bound}" if most < math.inf else "")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise refused(path, value, allowed)
    try:
        found = float(value)
    except OverflowError:
        raise refused(path, value, allowed) from None
    if not math.isfinite(found) or not least <= found <= most or (above and found == least):
        raise refused(path, value, allowed)
    return found


def exceptions(path: str, value: Any) -> tuple[type[Exception], ...]:
    """One class of exceptions or several, as a tuple. Raises `ConfigError`."""
    kinds = value if isinstance(value, (tuple, list)) else (value,)
    if not kinds or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
        raise refused(path, value, "exception classes below Exception, at least one")
    return tuple(kinds)


def observer_spec(path: str, value: Any) -> ObserverSpec:
    """``value`` if an observer can be given so; whether a name is registered is asked later. Raises `ConfigError`."""
    found: ObserverSpec = value
    if value is None or callable(value):
        return found
    if isinstance(value, str):
        return checked_name(path, value)
    if isinstance(value, (list, tuple)) and all(isinstance(one, str) or callable(one) for one in value):
        return tuple(value)
    raise refused(path, value, "the name of an observer, a callable, a list of these, or None (null in JSON) for none")


def known_keys(path: str, values: Any, kind: type) -> dict[str, Any]:
    """The keys of a mapping, all of them fields of the dataclass ``kind``. Raises `ConfigError`, which names the
    unknown ones."""
    if not isinstance(values, Mapping):
        raise refused(path or "the configuration", values, "an object with keys")
    known = [one.name for one in fields(kind)]
    prefix = f"{path}." if path else ""
    unknown = [key for key in values if key not in known]
    if unknown:
        said = [f"{prefix}{key}: unknown key" for key in unknown]
        near = [did_you_mean(f"{prefix}{key}", (prefix + name for name in known)) for key in unknown]
        hints = [f"{one} ({hint[2:]})" if hint else one for one, hint in zip(said, near, strict=True)]
        raise ConfigError(f"{'; '.join(hints)}; the keys are {', '.join(known)}")
    return dict(values)


def read_json(text: str | bytes) -> Any:
    """What a configuration in JSON holds. Raises `ConfigError` for text that is not JSON and for keys given twice."""
    try:
        load_module("json")
        import json

        return json.loads(text, object_pairs_hook=_no_duplicates)
    except ConfigError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"the configuration is not JSON: {error}") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise ConfigError(f"{', '.join(twice)}: given more than once; keep one")
    return found
