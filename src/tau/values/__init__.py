"""Values to bytes and back, exactly or not at all. The format is described in ``docs/values.md``."""

from tau.values.decoding import decode, is_view_of
from tau.values.encoding import MAX_BYTES, encode
from tau.values.plain import MAX_DEPTH, MAX_ITEMS
from tau.values.refusal import Refused
from tau.values.registered_classes import register_type
from tau.values.registry import is_atom

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
