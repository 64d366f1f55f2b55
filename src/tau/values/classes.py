"""Classes that users have registered."""

from __future__ import annotations

KINDS = ()
