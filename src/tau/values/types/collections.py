"""The containers of the standard library's ``collections``."""

from __future__ import annotations

from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

from tau.values import tags
from tau.values.refusal import Step, refuse
from tau.values.registry import Kind

# The numbers are stored; they stay.
_FACTORIES: tuple[type | None, ...] = (
    None,
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    list,
    tuple,
    dict,
    set,
    frozenset,
    OrderedDict,
    Counter,
    deque,
)


def _without_attributes(value: Any, *usual: str) -> None:
    extra = [name for name in vars(value) if name not in usual]
    if extra:
        raise refuse(value, f"its extra attribute {extra[0]!r} would be lost; store a plain container")


def _pack_mapping(value: dict[Any, Any]) -> dict[Any, Any]:
    _without_attributes(value)
    return dict(value)


def _pack_defaultdict(value: defaultdict[Any, Any]) -> list[Any]:
    for number, factory in enumerate(_FACTORIES):
        if value.default_factory is factory:
            return [number, dict(value)]
    names = ", ".join(getattr(factory, "__name__", "None") for factory in _FACTORIES)
    raise refuse(value, f"its default_factory is code, not data; only these are stored: {names}. Store dict(value)")


def _unpack_defaultdict(body: Any) -> defaultdict[Any, Any]:
    number, items = body
    if type(number) is not int or not 0 <= number < len(_FACTORIES):
        raise ValueError("a default factory that is not known")
    return defaultdict(_FACTORIES[number], _dict(items))


def _pack_chainmap(value: ChainMap[Any, Any]) -> list[Any]:
    _without_attributes(value, "maps")
    if type(value.maps) is not list:
        raise refuse(value, "its maps are not in a list; store a ChainMap that was made in the usual way")
    return value.maps


def _unpack_chainmap(body: Any) -> ChainMap[Any, Any]:
    value: ChainMap[Any, Any] = ChainMap()
    value.maps = _list(body)
    return value


def _unpack_deque(body: Any) -> deque[Any]:
    maxlen, items = body
    if maxlen is not None and len(items) > maxlen:
        raise ValueError("a deque with more items than its maxlen")
    return deque(_list(items), maxlen)


def _mapping(make: Callable[[], Any]) -> Callable[[Any], Any]:
    def unpack(body: Any) -> Any:
        value = make()
        dict.update(value, _dict(body)) if make is Counter else value.update(_dict(body))
        return value

    return unpack


def _dict(body: Any) -> dict[Any, Any]:
    if type(body) is not dict:
        raise ValueError("a mapping needs a map")
    return body


def _list(body: Any) -> list[Any]:
    if type(body) is not list:
        raise ValueError("a sequence needs an array")
    return body


def _inside(_: Any, steps: list[Step]) -> list[Step]:
    """The contents are the second part of the body."""
    return steps[1:]


def _maps(_: Any, steps: list[Step]) -> list[Step]:
    return [Step("attr", "maps"), *steps]


KINDS = (
    Kind(
        tag=tags.DEQUE,
        types=(deque,),
        pack=lambda value: [value.maxlen, list(value)],
        unpack=_unpack_deque,
        trail=_inside,
    ),
    Kind(tag=tags.ORDERED_DICT, types=(OrderedDict,), pack=_pack_mapping, unpack=_mapping(OrderedDict)),
    Kind(
        tag=tags.DEFAULT_DICT, types=(defaultdict,), pack=_pack_defaultdict, unpack=_unpack_defaultdict, trail=_inside
    ),
    Kind(tag=tags.COUNTER, types=(Counter,), pack=_pack_mapping, unpack=_mapping(Counter)),
    Kind(tag=tags.CHAIN_MAP, types=(ChainMap,), pack=_pack_chainmap, unpack=_unpack_chainmap, trail=_maps),
)
