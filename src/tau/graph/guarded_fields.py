"""What counts of a field whose name suggests a secret: that which cannot be one.

No text is among it and no digest of one, as a short secret could be guessed from its digest; neither is a number that
is itself a password or key, nor one that another process has otherwise: when a token ends, how many were used. ``None``
is what a secret is before it is given, so that it does not count either.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from tau.redaction import is_secret

NOTHING: Final = object()
"""Nothing of a value counts."""

_NUMBERS = (int, float, complex, Decimal, Fraction, range, timedelta)
_MOST_BITS = 32  # longer ones are keys and random marks

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_MANY = {"tokens", "passwords", "secrets", "credentials"}
_ONE = {"token", "password", "secret", "credential"}
_HOW_MANY = {
    "count", "counts", "limit", "limits", "budget", "length", "len", "size", "quota", "rate", "window", "ratio",
    "threshold", "attempts", "retries",
}  # fmt: skip
_COUNTING = {"max", "maximum", "min", "minimum", "n", "num", "number", "per", *_HOW_MANY}
_OF_WHAT = {
    "new", "input", "output", "prompt", "completion", "context", "reasoning", "thinking", "cached", "generated",
    "chunk", "batch", "request", "second", "minute", "hour", "day", "of", "to", "sample",
}  # fmt: skip
_KINDS = {"kind", "type", "mode", "format", "strategy", "policy", "level", "style", "scheme"}
_OF_MODELS = {"bos", "eos", "pad", "unk", "sep", "cls", "mask", "stop"}
_OF_A_PROCESS = {
    "used", "usage", "spent", "consumed", "seen", "processed", "remaining", "left", "total", "expires", "expiry",
    "expire", "expiration", "exp", "issued", "iat", "created", "acquired", "obtained", "fetched", "refreshed",
    "updated", "valid", "until", "at", "time", "timestamp", "date", "age", "nonce",
}  # fmt: skip
_USED = {"prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "reasoning_tokens", "cached_tokens"}
_ITSELF = re.compile(r"(passw\w*|passcode|pin|key|apikey|authorization)s?")


@functools.lru_cache(maxsize=1024)
def is_setting(name: str) -> bool:
    """Whether a name that suggests a secret tells of something else, so that even a text under it is none: how many
    tokens, of which kind, a tokenizer, the token at which a model stops."""
    words = _words(name)
    if words[-1:] and words[-1] in _KINDS:
        return True
    rest = [word for word in words if not re.match(r"(de|re)?tokeni[sz]", word)]
    marks = {at for at, pair in enumerate(pairwise(rest)) if _is_of_a_model(*pair)}
    rest = [word for at, word in enumerate(rest) if at not in marks and at - 1 not in marks]
    return not is_secret("_".join(rest)) or _is_how_many(rest)


def harmless(name: str, value: Any, digest: Callable[[Any], str]) -> Any:
    """What counts of the plain data ``value`` under ``name``, or `NOTHING`."""
    words = _words(name)
    if not _OF_A_PROCESS.isdisjoint(words) or "_".join(words) in _USED:
        return NOTHING
    return _kept(value, digest, itself=bool(words) and _ITSELF.fullmatch(words[-1]) is not None)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _is_of_a_model(word: str, following: str) -> bool:
    return (word in _OF_MODELS and following in ("token", "tokens")) or (word, following) == ("special", "tokens")


def _is_how_many(words: list[str]) -> bool:
    if not {*words} <= _MANY | _ONE | _COUNTING | _OF_WHAT:
        return False
    return words[-1] in _HOW_MANY or (_ONE.isdisjoint(words) and not _COUNTING.isdisjoint(words))


def _kept(value: Any, digest: Callable[[Any], str], itself: bool) -> Any:
    if isinstance(value, (bool, Enum)):
        return value
    if isinstance(value, _NUMBERS):
        return NOTHING if itself or (isinstance(value, int) and value.bit_length() > _MOST_BITS) else value
    if isinstance(value, (list, tuple)):
        return _all((_kept(one, digest, itself) for one in value), digest)
    if isinstance(value, (set, frozenset)):
        return _all((_kept(one, digest, itself) for one in value), digest, ordered=False)
    if isinstance(value, dict):
        pairs = (_all((_kept(key, digest, itself), _kept(one, digest, itself)), digest) for key, one in value.items())
        return _all(pairs, digest, ordered=False)
    dtype = getattr(value, "dtype", None)
    is_number = getattr(dtype, "kind", "") in ("b", "i", "u", "f", "c") and str(dtype) not in ("uint8", "int8")
    return value if is_number and not itself else NOTHING


def _all(parts: Iterable[Any], digest: Callable[[Any], str], ordered: bool = True) -> Any:
    kept = [part for part in parts if part is not NOTHING]
    if not kept:
        return NOTHING
    return kept if ordered else sorted(map(digest, kept))
