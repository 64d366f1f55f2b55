"""Dates, times, durations and time zones, with their ``fold`` and their kind of zone."""

from __future__ import annotations

import os
import re
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import cache
from typing import Any

from tau.errors import UnsupportedFormatError
from tau.signals import pass_on
from tau.values import tags
from tau.values.refusal import refuse
from tau.values.registry import Kind

_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_MICROSECOND = timedelta(microseconds=1)
_known_zones: set[str] = set()


def pack_datetime(value: datetime) -> list[Any]:
    day = [value.year, value.month, value.day]
    return [*day, value.hour, value.minute, value.second, value.microsecond, value.fold, *_pack_zone_of(value)]


def unpack_datetime(body: Any) -> datetime:
    year, month, day, hour, minute, second, micro, fold, *zone = body
    return datetime(year, month, day, hour, minute, second, micro, _unpack_zone_of(zone), fold=fold)


def _pack_time(value: time) -> list[Any]:
    return [value.hour, value.minute, value.second, value.microsecond, value.fold, *_pack_zone_of(value)]


def _unpack_time(body: Any) -> time:
    hour, minute, second, micro, fold, *zone = body
    return time(hour, minute, second, micro, _unpack_zone_of(zone), fold=fold)


def _pack_zone_of(value: datetime | time) -> list[Any]:
    """Nothing, the key of a zone, or a fixed offset with or without a name."""
    zone = value.tzinfo
    if zone is None:
        return []
    if type(zone) is timezone:
        return _pack_fixed(zone)
    if type(zone) is zoneinfo.ZoneInfo:
        return [_zone_key(value, zone)]
    raise refuse(value, f"its time zone is of type {type(zone).__name__}; use datetime.timezone or zoneinfo.ZoneInfo")


def _unpack_zone_of(zone: list[Any]) -> tzinfo | None:
    if not zone:
        return None
    return _zone(zone[0]) if zone and type(zone[0]) is str else _unpack_fixed(zone)


def pack_date(value: date) -> list[Any]:
    return [value.year, value.month, value.day]


def unpack_date(body: Any) -> date:
    year, month, day = body
    return date(year, month, day)


def _pack_duration(value: timedelta) -> list[int]:
    return [value.days, value.seconds, value.microseconds]


def _unpack_duration(body: Any) -> timedelta:
    if type(body) is not list or list(map(type, body)) != [int, int, int]:
        raise ValueError("a duration needs days, seconds and microseconds")
    return timedelta(*body)


def _pack_fixed(value: timezone) -> list[Any]:
    if value is UTC:
        return [0]
    offset = value.utcoffset(None)
    name = value.tzname(None)
    return [offset // _MICROSECOND, *([] if name == timezone(offset).tzname(None) else [name])]


def _unpack_fixed(body: Any) -> timezone:
    offset, *name = body
    if type(offset) is not int:
        raise ValueError("a time zone needs its offset in microseconds")
    return timezone(timedelta(microseconds=offset), *name)


def _zone_key(owner: object, zone: zoneinfo.ZoneInfo) -> str:
    # A zone made with from_file holds data that its key does not lead back to; only its pickling knows.
    try:
        zone.__reduce__()
    except Exception as error:
        pass_on(error)
        raise refuse(owner, "its time zone was made from a file; use ZoneInfo(key)") from error
    if not _ZONE_KEY.fullmatch(zone.key):
        raise refuse(owner, f"the key of its time zone, {zone.key!r}, is not the name of one")
    return zone.key


def _zone(key: str) -> zoneinfo.ZoneInfo:
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


def _own(cls: Any, name: str) -> type:
    """The class that Python itself has under this name; freezegun puts subclasses in its place for a while."""
    found: type = next(base for base in cls.__mro__ if (base.__module__, base.__name__) == ("datetime", name))
    return found


KINDS = (
    Kind(
        tag=tags.DATE,
        types=(_own(date, "date"),),
        pack=pack_date,
        unpack=unpack_date,
        atom=True,
    ),
    Kind(tag=tags.TIME, types=(time,), pack=_pack_time, unpack=_unpack_time, atom=True),
    Kind(tag=tags.DATETIME, types=(_own(datetime, "datetime"),), pack=pack_datetime, unpack=unpack_datetime, atom=True),
    Kind(tag=tags.DURATION, types=(timedelta,), pack=_pack_duration, unpack=_unpack_duration, atom=True),
    Kind(tag=tags.FIXED_ZONE, types=(timezone,), pack=_pack_fixed, unpack=_unpack_fixed, atom=True),
    Kind(
        tag=tags.NAMED_ZONE,
        types=(zoneinfo.ZoneInfo,),
        pack=lambda value: _zone_key(value, value).encode(),
        unpack=lambda data: _zone(data.decode("ascii")),
        raw=True,
        atom=True,
    ),
)
