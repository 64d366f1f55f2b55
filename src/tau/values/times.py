"""Dates, times, durations and time zones, with their ``fold`` and their kind of zone."""

from __future__ import annotations

import os
import re
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import cache
from typing import Any

from tau.errors import UnsupportedFormatError
from tau.values import tags
from tau.values.kinds import Kind
from tau.values.refusal import Step, refuse

_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_ZONES = (type(None), timezone, zoneinfo.ZoneInfo)
_known_zones: set[str] = set()


def _pack_datetime(value: datetime) -> list[Any]:
    return [*_checked(value, value.timetuple()[:6]), value.microsecond, value.fold, value.tzinfo]


def _checked(value: datetime | time, parts: tuple[int, ...]) -> tuple[int, ...]:
    if type(value.tzinfo) not in _ZONES:
        name = type(value.tzinfo).__name__
        raise refuse(value, f"its time zone is a {name}; use datetime.timezone or zoneinfo.ZoneInfo")
    return parts


def _unpack_datetime(body: Any) -> datetime:
    year, month, day, hour, minute, second, micro, fold, zone = body
    return datetime(year, month, day, hour, minute, second, micro, zone, fold=fold)


def _pack_time(value: time) -> list[Any]:
    parts = _checked(value, (value.hour, value.minute, value.second, value.microsecond))
    return [*parts, value.fold, value.tzinfo]


def _unpack_time(body: Any) -> time:
    hour, minute, second, micro, fold, zone = body
    return time(hour, minute, second, micro, zone, fold=fold)


def _unpack_date(body: Any) -> date:
    year, month, day = body
    return date(year, month, day)


def _pack_duration(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _unpack_duration(body: Any) -> timedelta:
    if type(body) is not list or list(map(type, body)) != [int, int, int]:
        raise ValueError("a duration needs days, seconds and microseconds")
    return timedelta(*body)


def _pack_fixed(value: timezone) -> list[Any]:
    offset = value.utcoffset(None)
    name = value.tzname(None)
    return [*_pack_duration(offset), *([] if name == timezone(offset).tzname(None) else [name])]


def _unpack_fixed(body: Any) -> timezone:
    offset = _unpack_duration(body[:3])
    if len(body) == 3:
        return UTC if not offset else timezone(offset)
    (name,) = body[3:]
    return timezone(offset, name)


def _pack_zone(value: zoneinfo.ZoneInfo) -> bytes:
    # A zone made with from_file holds data that its key does not lead back to; only its pickling knows.
    try:
        value.__reduce__()
    except Exception as error:
        raise refuse(value, "it was made from a file; use ZoneInfo(key)") from error
    if not _ZONE_KEY.fullmatch(value.key):
        raise refuse(value, f"its key {value.key!r} is not the name of a zone")
    return value.key.encode()


def _unpack_zone(data: bytes) -> zoneinfo.ZoneInfo:
    key = data.decode("ascii")
    if not _ZONE_KEY.fullmatch(key):
        raise ValueError("no name of a time zone")
    if key not in _known_zones:
        # ZoneInfo falls back to importing a package by the key's name: it must not see a key that is no zone here.
        if not _is_zone(key):
            raise UnsupportedFormatError(
                f"a stored value is in the time zone {key!r}, which this machine does not know; install tzdata",
                found=key,
            )
        _known_zones.add(key)
    return zoneinfo.ZoneInfo(key)


def _is_zone(key: str) -> bool:
    return any(os.path.isfile(os.path.join(folder, key)) for folder in zoneinfo.TZPATH) or key in _available()


@cache
def _available() -> frozenset[str]:
    """Every zone of this machine and of an installed tzdata; the search takes some ten milliseconds."""
    return frozenset(zoneinfo.available_timezones())


def _zone_trail(_: Any, steps: list[Step]) -> list[Step]:
    return [Step("attr", "tzinfo"), *steps[1:]]


KINDS = (
    Kind(
        tag=tags.DATE,
        types=(date,),
        pack=lambda value: [value.year, value.month, value.day],
        unpack=_unpack_date,
        atom=True,
    ),
    Kind(tag=tags.TIME, types=(time,), pack=_pack_time, unpack=_unpack_time, atom=True, trail=_zone_trail),
    Kind(
        tag=tags.DATETIME, types=(datetime,), pack=_pack_datetime, unpack=_unpack_datetime, atom=True, trail=_zone_trail
    ),
    Kind(tag=tags.DURATION, types=(timedelta,), pack=_pack_duration, unpack=_unpack_duration, atom=True),
    Kind(tag=tags.FIXED_ZONE, types=(timezone,), pack=_pack_fixed, unpack=_unpack_fixed, atom=True),
    Kind(tag=tags.NAMED_ZONE, types=(zoneinfo.ZoneInfo,), pack=_pack_zone, unpack=_unpack_zone, raw=True, atom=True),
)
