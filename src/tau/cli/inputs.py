"""The input of a run from the command line: ``--input FILE.json`` and ``--set name=value``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tau.errors import ConfigError
from tau.log.json_schema import takes_text


def gather(
    file: str | None, settings: Iterable[str], *, option: str = "--set", form: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The input: what the file holds, then the settings in order, the later winning. A field that is text in the
    ``form``, a JSON schema, is taken as it stands. Raises `ConfigError`."""
    values = {} if file is None else read_object(file)
    for setting in settings:
        before, equals, text = setting.partition("=")
        name = before.strip()
        if not equals or not name:
            raise ConfigError(f"{option} {setting!r}: found no name before an equals sign; write {option} name=value")
        values[name] = parse_value(f"{option} {name}", text, as_text=takes_text(form, name))
    return values


def parse_value(where: str, text: str, *, as_text: bool = False) -> Any:
    """``text`` as JSON where it is JSON, as it stands otherwise, and where it is wanted ``as_text``."""
    try:
        found = parse(text)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    except (ValueError, RecursionError):
        return text
    return text if as_text and not isinstance(found, str) else found


def read_object(path: str) -> dict[str, Any]:
    """The JSON object in a file. Raises `ConfigError`."""
    found = read_value(path)
    if not isinstance(found, dict):
        raise ConfigError(
            f"--input {path}: it holds a JSON {_KINDS[type(found)]}; an input is an object, {{'name': value}}"
        )
    return found


def read_value(path: str) -> Any:
    """The JSON value in a file, or on stdin for ``-``. Raises `ConfigError`."""
    try:
        return parse(sys.stdin.read() if path == "-" else Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"--input {path}: cannot be read: {error.strerror}; name a file that holds JSON") from error
    except ConfigError as error:
        raise ConfigError(f"--input {path}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--input {path}: it is not JSON: {error}; correct it, or use --set name=value") from error


_KINDS = {list: "array", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}


def parse(text: str) -> Any:
    """``text`` as strict JSON: no NaN, no name twice. Raises `ConfigError` and ``ValueError``."""
    return json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_unique)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is beyond the range of a float")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"the name {twice!r} appears twice in one object; remove one")
    return found
