"""Internet addresses, networks and interfaces."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any

from tau.values import tags
from tau.values.registry import Kind

# The numbers are stored; they stay.
_TYPES: tuple[type, ...] = (IPv4Address, IPv6Address, IPv4Network, IPv6Network, IPv4Interface, IPv6Interface)


def _unpack(body: Any) -> Any:
    number, text = body
    if type(number) is not int or type(text) is not str or not 0 <= number < len(_TYPES):
        raise ValueError("an internet address needs its kind and its text")
    value = _TYPES[number](text)
    if str(value) != text:
        raise ValueError("an internet address that is not in its usual form")
    return value


KINDS = (
    Kind(
        tag=tags.IP, types=_TYPES, pack=lambda value: [_TYPES.index(type(value)), str(value)], unpack=_unpack, atom=True
    ),
)
