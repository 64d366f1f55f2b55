"""Store URLs: what they mean, and what is wrong with the others.

A path is taken as it is written: nothing is unquoted, ``~`` is not expanded, and a relative one starts at the working
directory of the moment.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from tau.errors import ConfigError, UnknownStoreError
from tau.late_imports import load_module
from tau.spelling import nearest

SCHEMES = ("memory", "sqlite", "file", "postgresql", "redis", "rediss", "s3")
FORMS = "sqlite:///FILE, file:DIRECTORY, postgresql://HOST/DB, redis://HOST, s3://BUCKET/PREFIX, memory:"
"""As errors name them, in one line; docs/stores.md has the rest."""


class Location(NamedTuple):
    """``kind`` is memory, sqlite, file, postgres, redis or s3. ``path`` is absolute, without symbolic links; empty for
    memory; of a server the URL without a password; ``url`` is the one with it, if there is one."""

    kind: str
    path: str
    url: str = ""

    def __repr__(self) -> str:
        return f"Location({self.kind!r}, {self.path!r})"


def without_password(url: str) -> str:
    """The URL as it may be shown: user and password are masked, and the values of a query."""
    # What tau cannot read may hold a password whose signs are not encoded; in a path an @ is but a letter.
    secret = r"//[^/?#]*@" if url.startswith(("sqlite:", "file:")) else r"(?<=:)(?://)?.*@"
    url, mark, query = re.sub(secret, "//***@", url).partition("?")
    masked = (
        f"{name}=***" if equals else "***" for name, equals, _ in (part.partition("=") for part in query.split("&"))
    )
    return url + mark + ("&".join(masked) if mark else "")


def hide_passwords(text: str) -> str:
    """A text of others, such as a message of click, as it may be shown: what stands in a URL before an @ is masked."""
    return re.sub(r"(?<=:)//[^\s'\"]*@|\b((?:ssl)?password)=[^\s'\"&]*", _masked, text)


def _masked(found: re.Match[str]) -> str:
    return f"{found[1]}=***" if found[1] else "//***@"


def for_a_command(url: str) -> str:
    """What stands for the URL in a command that is printed: the URL as it was given, or where it holds a password its
    `Location.path`. A URL that cannot be read is masked as in `without_password`."""
    masked = without_password(url)
    if masked == url:
        return url
    try:
        place = parse(url)
    except ConfigError:
        return masked
    return place.path if place.url else url


def url_of(path: str | os.PathLike[str]) -> str:
    """The store at a path: an existing directory is a file store, anything else a SQLite file. Raises `ConfigError`."""
    found = os.fspath(path)
    if not isinstance(found, str):
        raise ConfigError(f"the path of a store is text, not {type(found).__name__}: {found!r}; use os.fsdecode")
    return f"file:{found}" if os.path.isdir(found) else f"sqlite:///{found}"


def parse(url: str) -> Location:
    """Where ``url`` points. Raises `ConfigError` with the remedy, `UnknownStoreError` for what is not a store URL."""
    scheme, colon, rest = url.partition(":")
    shown = without_password(url)
    if colon and scheme in ("postgres", "postgresql"):
        address = load_module("tau.stores.server_urls").postgres(url)
        return Location("postgres", address.location, url if address.secret else "")
    if colon and scheme in ("redis", "rediss", "valkey", "valkeys", "unix"):
        url = load_module("tau.stores.server_urls").of_environment(url)
        address = load_module("tau.stores.server_urls").redis(url)
        return Location("redis", address.location, url if address.secret else "")
    if colon and scheme == "s3":
        return Location("s3", load_module("tau.stores.server_urls").s3(url).location)
    if not colon or scheme not in ("memory", "sqlite", "file"):
        near = nearest(scheme, SCHEMES) if colon else ""
        meant = f"did you mean {near + shown[len(scheme) :]!r}?" if near else f"the forms are {FORMS}"
        raise UnknownStoreError(f"{shown!r} is not a store URL; {meant}")
    if scheme == "memory":
        if rest:
            raise ConfigError(f"{shown!r}: the memory store has no path; write memory:")
        return Location("memory", "")
    return Location(scheme, _real(_sqlite_path(rest, shown) if scheme == "sqlite" else _file_path(rest, shown), shown))


def _sqlite_path(rest: str, shown: str) -> str:
    if not rest.startswith("///"):
        raise ConfigError(
            f"{shown!r}: a SQLite URL has three slashes before a relative path (sqlite:///runs.db) and four before an "
            "absolute one (sqlite:////data/runs.db)"
        )
    if rest[3:] in (":memory:", ""):
        raise ConfigError(f"{shown!r} names no file; for a store in memory write memory:")
    return rest[3:]


def _file_path(rest: str, shown: str) -> str:
    if rest.startswith("//"):
        if not rest.startswith("///"):
            raise ConfigError(f"{shown!r}: a file URL names no host; write file:///absolute/dir, or file:relative/dir")
        rest = rest[2:]
    if not rest:
        raise ConfigError(f"{shown!r} names no directory; write file:///absolute/dir or file:relative/dir")
    return rest


def _real(path: str, shown: str) -> str:
    if "\0" in path:
        raise ConfigError(f"{shown!r}: a path cannot hold a NUL character; remove it")
    if path.startswith("~"):
        raise ConfigError(f"{shown!r}: ~ is not expanded; write the path in full, or use os.path.expanduser")
    if "?" in path:
        raise ConfigError(f"{shown!r}: this store has no options; write the path alone, without a question mark")
    if path.endswith("/") and path.strip("/"):
        path = path.rstrip("/")
    return os.path.realpath(path)
