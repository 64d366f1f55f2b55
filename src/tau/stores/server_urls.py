"""URLs of servers: what of them may be shown, and what is tau's own in them.

A password may stand before the host or among the parameters. ``location`` is the URL without it, which is all that is
ever shown or compared; a password with signs that a URL reserves has to be percent-encoded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote

from tau.errors import ConfigError

_URL = re.compile(r"(?P<user>[^:@/?]*)(?P<secret>:[^@/?]*)?@")
_SECRET = re.compile(r"passw|secret|^scram_|token", re.IGNORECASE)
_VALKEY = re.compile("^valkey(s?):")
_OWN = ("durability",)
_POSTGRES = ("PostgreSQL", "postgresql://user:password@host:port/database")
_REDIS = ("Redis", "redis://user:password@host:port/database, or unix://user:password@/path/to/socket?db=database,")


class Address(NamedTuple):
    """``location`` may be shown. ``url`` is what the driver gets, and holds a password if ``secret``. ``own`` are tau's
    options."""

    location: str
    url: str
    own: Mapping[str, str]
    secret: bool

    def __repr__(self) -> str:
        return f"Address({self.location!r})"


def postgres(url: str, environment: Mapping[str, str] = os.environ) -> Address:
    """The address of a PostgreSQL URL; what it leaves out is taken from PGUSER, PGHOST, PGPORT and PGDATABASE, unless
    it names a service. Raises `ConfigError`, which never shows the password."""
    user, secret, place, query = _parted(url, *_POSTGRES)
    parts = [part for part in query.split("&") if part]
    named = {part.partition("=")[0]: part.partition("=")[2] for part in parts}
    shown = [part for part in parts if not _SECRET.search(part.partition("=")[0])]
    hosts, slash, database = place.partition("/")
    if "service" not in named and "PGSERVICE" not in environment:
        user = user or ("" if "user" in named else quote(environment.get("PGUSER", ""), safe=""))
        hosts = hosts or ("" if named.keys() & {"host", "hostaddr"} else _hosts(environment))
        port = environment.get("PGPORT", "")
        if port and "," not in hosts and "port" not in named and not re.search(r":\d+$", hosts):
            hosts = f"{hosts}:{port}"
        database = database or ("" if "dbname" in named else quote(environment.get("PGDATABASE", ""), safe=""))
    theirs = [part for part in parts if part.partition("=")[0] not in _OWN]
    place = hosts + ("/" if database else slash) + database
    return Address(
        f"postgresql://{user}{'@' if user else ''}{place}{_query(shown)}",
        f"postgresql://{user}{secret}{'@' if user or secret else ''}{place}{_query(theirs)}",
        {name: named[name] for name in _OWN if name in named},
        len(shown) < len(parts) or len(secret) > 1,
    )


def of_environment(url: str, environment: Mapping[str, str] = os.environ) -> str:
    """The Redis URL that is meant: what REDIS_URL says, for ``redis://`` alone; ``valkey`` is another word for
    ``redis``. Raises `ConfigError`."""
    url = _VALKEY.sub(r"redis\1:", url)
    if url.rstrip("/") != "redis:":
        return url
    url = _VALKEY.sub(r"redis\1:", environment.get("REDIS_URL", "").strip() or url)
    if not re.match("(rediss?|unix):", url):
        raise ConfigError("REDIS_URL does not begin with redis://, rediss:// or unix://; write one of these")
    return url


def redis(url: str, environment: Mapping[str, str] = os.environ) -> Address:
    """The address of a Redis URL; ``redis://`` alone means REDIS_URL, or this machine where that is not set. Raises
    `ConfigError`, which never shows the password."""
    url = of_environment(url, environment)
    user, secret, place, query = _parted(url, *_REDIS)
    parts = [part for part in query.split("&") if part]
    named = {part.partition("=")[0]: part.partition("=")[2] for part in parts}
    scheme = url.partition(":")[0]
    if scheme == "unix":
        place, database = place.rstrip("/"), named.get("db", "0")
    else:
        host, _, path = place.partition("/")
        host = host or "localhost"
        place = host if re.search(r":\d+$", host) else f"{host.rstrip(':')}:6379"
        database = named.get("db", path.rstrip("/") or "0")
    if not re.fullmatch(r"\d+", database) or (scheme == "unix" and not place.startswith("/")):
        raise ConfigError(
            f"this {scheme}:// URL does not read as {_REDIS[1]} with a path from the root and a number as database"
        )
    number = str(int(database))
    theirs = [part for part in parts if part.partition("=")[0] not in (*_OWN, "db")]
    shown = [part for part in parts if part.partition("=")[0] != "db" and not _SECRET.search(part.partition("=")[0])]
    place, options = (place, [f"db={number}"]) if scheme == "unix" else (f"{place}/{number}", [])
    return Address(
        f"{scheme}://{user}{'@' if user else ''}{place}{_query(options + shown)}",
        f"{scheme}://{user}{secret}{'@' if user or secret else ''}{place}{_query(options + theirs)}",
        {name: named[name] for name in _OWN if name in named},
        any(_SECRET.search(name) for name in named) or len(secret) > 1,
    )


def _parted(url: str, kind: str, form: str) -> tuple[str, str, str, str]:
    """User, colon and password, hosts and database, query. Where these cannot be told apart nothing of them is shown,
    as any of it may be the password."""
    scheme, _, rest = url.partition(":")
    if not rest.startswith("//"):
        raise ConfigError(
            f"two slashes come before the host in a URL of {kind}: {form}; this one begins with "
            f"{scheme}:{rest[:1] if rest[:1] == '/' else ''}"
        )
    if "\0" in url:
        raise ConfigError(f"URLs of {kind} cannot hold a NUL character; remove it")
    body, _, query = rest[2:].partition("?")
    found = _URL.match(body)
    user, secret, place = (found["user"], found["secret"] or "", body[found.end() :]) if found else ("", "", body)
    ports = [host.rpartition(":")[2] for host in place.partition("/")[0].split(",") if re.search(r":[^\]]*$", host)]
    if "@" in place or not all(re.fullmatch(r"\d*", port) for port in ports):
        raise ConfigError(
            f"this URL of {kind} does not read as {form} with a number as port; "
            "percent-encode what a URL reserves in user and password: @ is %40, / is %2F, : is %3A, ? is %3F, # is "
            "%23, % is %25"
        )
    return user, secret, place, query


def _hosts(environment: Mapping[str, str]) -> str:
    return ",".join(quote(host, safe=":[]") for host in environment.get("PGHOST", "").split(",") if host)


def _query(parts: list[str]) -> str:
    return f"?{'&'.join(parts)}" if parts else ""


_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()=-]+")
_ENDPOINT = re.compile(
    r"https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]+)?/?"
)
_REGION = re.compile(r"[A-Za-z0-9-]+")
_LONGEST = 600  # characters of a prefix: S3 allows 1,024 bytes for a key, and a run's own part needs some of them
_S3_OPTIONS = ("endpoint", "region")


def s3(url: str, environment: Mapping[str, str] = os.environ) -> Address:
    """The address of a bucket and a prefix in it; one without a bucket means that which TAU_S3 names. Endpoint and
    region, which it may leave out, are taken from AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL and AWS_REGION or
    AWS_DEFAULT_REGION. Raises `ConfigError`, which shows nothing that may be a secret."""
    if url in ("s3:", "s3://"):
        url = environment.get("TAU_S3", "")
        if not url:
            raise ConfigError("the store s3 is where TAU_S3 says: export TAU_S3=s3://bucket/prefix, or give that URL")
    body, _, query = url.removeprefix("s3://").partition("?")
    bucket, _, prefix = body.partition("/")
    prefix = prefix.strip("/")
    if not url.startswith("s3://") or not _BUCKET.fullmatch(bucket):
        raise ConfigError(
            "an S3 URL reads s3://bucket/prefix, with a bucket of 3 to 63 letters, digits, dots and hyphens; "
            "credentials are not part of it: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    parts = prefix.split("/") if prefix else []
    if len(prefix) > _LONGEST or any(part in (".", "..") or not _PREFIX.fullmatch(part) for part in parts):
        raise ConfigError(
            f"the prefix of an S3 URL has at most {_LONGEST} characters: letters, digits, slashes and ! _ . * ' ( ) = "
            "-, and no part of it is empty, . or .."
        )
    given = {name: unquote(value) for name, _, value in (part.partition("=") for part in query.split("&") if part)}
    if given.keys() - {*_S3_OPTIONS}:
        raise ConfigError(
            "the options of an S3 URL are endpoint and region: s3://bucket/prefix?endpoint=https://host&region=...; "
            "everything else, credentials above all, comes from the environment (AWS_ACCESS_KEY_ID and its kin)"
        )
    set_elsewhere = {
        "endpoint": environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL", ""),
        "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION", ""),
    }
    own = {name: value for name in _S3_OPTIONS if (value := given.get(name) or set_elsewhere[name])}
    if not _ENDPOINT.fullmatch(own.get("endpoint", "https://host")) or not _REGION.fullmatch(own.get("region", "x")):
        raise ConfigError(
            "the endpoint of an S3 store reads https://host:port, without user and password, and its region like "
            "eu-central-1; see the URL, AWS_ENDPOINT_URL and AWS_REGION"
        )
    location = f"s3://{'/'.join((bucket, *parts))}{_query([f'{name}={value}' for name, value in own.items()])}"
    return Address(location, location, own, secret=False)
