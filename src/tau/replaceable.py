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

        >>> from tau import GraphConfig
        >>> config = GraphConfig("climate").replace(max_iterations=50)
        >>> config.replace(checkpoint=config.checkpoint.replace(interval=1)).checkpoint.interval
        1
        """
        return cast("Self", dataclasses.replace(cast("Any", self), **changes))
