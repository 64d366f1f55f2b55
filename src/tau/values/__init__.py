"""Values to bytes and back, exactly or not at all. The format is described in ``docs/values.md``."""

from tau.values.classes import register_type
from tau.values.kinds import is_atom
from tau.values.reader import decode, is_view_of
from tau.values.refusal import Refused
from tau.values.scan import MAX_DEPTH, MAX_ITEMS
from tau.values.writer import MAX_BYTES, encode

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_ITEMS",
    "Refused",
    "decode",
    "encode",
    "is_atom",
    "is_view_of",
    "register_type",
]
