"""freezegun: the datetimes and dates that stand in for Python's own while it has stopped the clock.

They are stored as what they stand in for; what is read while the clock stands is again what a program makes then.
"""

from __future__ import annotations

import sys
from typing import Any

from tau.values import tags
from tau.values.registry import Kind
from tau.values.types.times import pack_date, pack_datetime, unpack_date, unpack_datetime

_api: Any = sys.modules["freezegun.api"]  # the value that led here is of a class from it

KINDS = (
    Kind(tag=tags.DATE, types=(_api.FakeDate,), pack=pack_date, unpack=unpack_date, atom=True),
    Kind(tag=tags.DATETIME, types=(_api.FakeDatetime,), pack=pack_datetime, unpack=unpack_datetime, atom=True),
)
