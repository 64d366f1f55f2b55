"""Configurations that are changed by making another one."""

from __future__ import annotations

import dataclasses
from typing import Any, Self, cast


class Replaceable:
    """What all configurations can do."""

    __slots__ = ()

    def replace(self, **changes: Any) -> Self:
        """A copy with other values for these fields, all of them checked as ever; this one stays as it is.

        Raises `ConfigError` for a value that the field cannot have, `TypeError` for a field that there is not.
        """
        return cast("Self", dataclasses.replace(cast("Any", self), **changes))
