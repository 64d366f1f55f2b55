"""cftime: points in time of the calendars that climate models use."""

from __future__ import annotations

from typing import Any

import cftime

from tau.values import tags
from tau.values.refusal import refuse
from tau.values.registry import Kind

# The numbers of the classes are stored; they stay. With each, its calendars.
_CLASSES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (cftime.datetime, ("standard", "proleptic_gregorian", "julian", "noleap", "all_leap", "360_day", "tai", "")),
    (cftime.DatetimeNoLeap, ("noleap",)),
    (cftime.DatetimeAllLeap, ("all_leap",)),
    (cftime.Datetime360Day, ("360_day",)),
    (cftime.DatetimeJulian, ("julian",)),
    (cftime.DatetimeGregorian, ("standard",)),
    (cftime.DatetimeProlepticGregorian, ("proleptic_gregorian",)),
)
_TYPES, _CALENDARS = zip(*_CLASSES, strict=True)


# Of other years cftime warns.
_IDEALIZED = ("noleap", "all_leap", "360_day")
_FROM_YEAR_1 = ("standard", "julian")


def _pack(value: Any) -> list[Any]:
    if value.year < 1 and value.calendar in _FROM_YEAR_1:
        raise refuse(value, f"years before 1 have no agreed meaning in the calendar {value.calendar}; store numbers")
    day = [value.year, value.month, value.day]
    clock = [value.hour, value.minute, value.second, value.microsecond]
    return [_TYPES.index(type(value)), value.calendar, value.has_year_zero, *day, *clock]


def _unpack(body: Any) -> Any:
    number, calendar, has_year_zero, *parts = body
    if type(calendar) is not str or type(has_year_zero) is not bool or list(map(type, parts)) != [int] * 7:
        raise ValueError("a point in time needs a calendar and seven numbers")
    if type(number) is not int or not 0 <= number < len(_TYPES) or calendar not in _CALENDARS[number]:
        raise ValueError("there is no class of points in time in that calendar")
    if (parts[0] < 1 and calendar in _FROM_YEAR_1) or (calendar in _IDEALIZED and not has_year_zero):
        raise ValueError("a year that the calendar does not have")
    named = {"calendar": calendar} if number == 0 else {}
    return _TYPES[number](*parts, has_year_zero=has_year_zero, **named)


KINDS = (Kind(tag=tags.CFTIME, types=_TYPES, pack=_pack, unpack=_unpack, atom=True),)
