"""What went wrong with a request, as one of the errors of agents: typed, with advice, and without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from tau.agents.errors import (
    AgentAnswerError,
    AgentAuthenticationError,
    AgentConnectionError,
    AgentError,
    AgentRateLimitError,
    AgentRequestError,
    AgentServerError,
    AgentStreamError,
    AgentTimeoutError,
    ModelNotFoundError,
    PromptTooLongError,
)
from tau.agents.providers.bounds import MOST_BYTES, Refusal, TooMuchError
from tau.agents.providers.time_bounds import TooLateError, is_foreign
from tau.agents.records import Call
from tau.errors import TauError
from tau.redaction import REDACTED

_CONTROL: Final = re.compile(
    r"(?:\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\s|[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff])+"
)
_MOST: Final = 300
_TOO_LONG: Final = re.compile(r"context.{0,20}(length|size|window)|exceed.{0,30}context|too many tokens", re.IGNORECASE)
_QUOTA: Final = re.compile(r"insufficient_quota|billing|exceeded your current quota|usage limit", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """The server that was asked, as messages tell of it: ``secrets`` are the texts that none may hold (more may be
    added), ``advice`` says what to do by the kind of error (``connection``, ``model``, ``key``), where ``{model}``
    stands for the model's name."""

    provider: str
    address: str
    timeout: float
    advice: Mapping[str, str]
    secrets: set[str] = field(default_factory=set, repr=False)

    def error(self, kind: type[AgentError], call: Call, said: str, /, **fields: Any) -> AgentError:
        """An error that names agent, provider, model and address."""
        where = {"agent": call.agent, "provider": self.provider, "model": call.model, "address": self.address}
        return kind(self.clean(said), **where, **fields)

    def clean(self, text: str) -> str:
        """The text without secrets."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            text = text.replace(secret, REDACTED)
        return text

    def quoted(self, text: str) -> str:
        """What a server wrote, in one line, without secrets and without what would control a terminal."""
        plain = _CONTROL.sub(" ", self.clean(text)).strip()
        return plain if len(plain) <= _MOST else plain[: _MOST - 3] + "..."

    def advise(self, kind: str, call: Call) -> str:
        """``": do this"``; empty where there is nothing to advise."""
        found = self.advice.get(kind, "")
        return f": {found.format(model=call.model)}" if found else ""


def password_of(base_url: str) -> set[str]:
    """The password in a URL, if there is one."""
    found = urlsplit(base_url).password
    return {found} if found else set()


def login_of(base_url: str) -> tuple[str, str] | None:
    """The user and the password in a URL, which clients are told of apart: what is in a URL, they write into logs."""
    found = urlsplit(base_url)
    return None if found.username is None else (unquote(found.username), unquote(found.password or ""))


def without_login(base_url: str) -> str:
    """A URL without user and password."""
    parts = urlsplit(base_url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def shown_address(base_url: str) -> str:
    """A URL without user, password and query."""
    return urlsplit(without_login(base_url))._replace(query="", fragment="").geturl().rstrip("/")


def raised_for(
    error: BaseException, call: Call, place: Place, outer: BaseException | None, text: str | None = None
) -> BaseException:
    """What is raised instead of what came out of a client, after the block that handles it.

    Neither the client's errors nor its frames hang on it, as these hold the request with its key. An interrupt is kept,
    and so is what else a signal handler raised. ``outer`` is what the caller was handling when it called, as one that
    asks another agent instead; ``text`` is what a stream had brought, ``None`` for no stream.
    """
    found = failure(error, call, place, outer, text) if isinstance(error, Exception) else error
    if isinstance(found, AgentError):
        found.__cause__ = None  # and none is shown
    return found.with_traceback(None)


def failure(
    error: Exception, call: Call, place: Place, outer: BaseException | None, text: str | None = None
) -> BaseException:
    """The error for what came out of a client, or what lies behind that and is not the client's."""
    causes = [*_causes(error, outer)]
    for one in causes:
        if is_foreign(one):
            return one
    for one in causes:
        if isinstance(one, TauError | Refusal) or (_is(one, "TimeoutException") and not _is(one, "ConnectTimeout")):
            return _known(one, call, place)
    if any(_is(one, "ConnectError") or _is(one, "ConnectTimeout") or type(one) is ConnectionError for one in causes):
        said = f"failed to connect to {place.provider} at {place.address}{place.advise('connection', call)}"
        return place.error(AgentConnectionError, call, said)
    if text or (text is not None and any(_is(one, "TransportError") for one in causes)):
        return cut(call, place, text)
    if any(_is(one, "TransportError") for one in causes):
        said = f"{place.provider} at {place.address} closed the connection before it answered"
        return place.error(AgentConnectionError, call, said)
    return _no_answer(error, causes, call, place)


def _no_answer(error: Exception, causes: list[BaseException], call: Call, place: Place) -> AgentError:
    """What was asked could not be sent, or what came is not an answer."""
    if any(isinstance(one, UnicodeEncodeError) for one in causes):
        said = f"what is asked cannot be sent to {place.provider} at {place.address}"
        why = "the prompt or an option has half of a surrogate pair; text.encode('utf-8', 'replace').decode() has none"
        return place.error(AgentRequestError, call, f"{said}: {why}")
    reason = place.quoted(str(error))
    said = f"what {place.provider} at {place.address} sent is not an answer ({type(error).__name__}: {reason})"
    return place.error(AgentServerError, call, f"{said}; is this the address of a model server?")


def _known(error: BaseException, call: Call, place: Place) -> TauError:
    if isinstance(error, Refusal):
        return refused(error, call, place)
    if isinstance(error, TooMuchError):
        said = f"{place.provider} at {place.address} sent more than {MOST_BYTES >> 20} MB, which is not read"
        return place.error(AgentAnswerError, call, said)
    return error if isinstance(error, TauError) and not isinstance(error, TooLateError) else late(call, place)


def late(call: Call, place: Place) -> AgentError:
    """The server took too long."""
    said = f"{place.provider} at {place.address} did not answer within {place.timeout:g} s"
    advice = "set client.timeout, or max_tokens for a shorter answer"
    return place.error(AgentTimeoutError, call, f"{said}; {advice}", seconds=place.timeout)


def cut(call: Call, place: Place, text: str) -> AgentError:
    """A stream without its end mark."""
    said = f"the stream of {place.provider} at {place.address} ended without its end mark after {len(text)} characters"
    return place.error(AgentStreamError, call, f"{said}; nothing was recorded", text=text)


def refused(refusal: Refusal, call: Call, place: Place) -> AgentError:
    """The error for a status of 400 and above."""
    status, text = refusal.status, place.quoted(_told(refusal.text))
    at = f"{place.provider} at {place.address}"
    if status in (401, 403):
        said = f"{at} refused the key (status {status}){place.advise('key', call)}"
        return place.error(AgentAuthenticationError, call, said, status=status)
    if status == 404 and ("model" in text.lower() or "deployment" in text.lower()):
        said = f"{at} does not have the model {call.model!r}{place.advise('model', call)}"
        return place.error(ModelNotFoundError, call, said)
    if status == 429:
        return _limited(refusal, call, place, text)
    if status in (400, 413, 422) and _TOO_LONG.search(refusal.text):
        said = f"the prompt does not fit the context of {call.model} on {at}: {text}"
        return place.error(PromptTooLongError, call, said)
    said = f"{at} answered with status {status}: {text or 'nothing else'}"
    kind = AgentServerError if status >= 500 or status == 408 else AgentRequestError
    return place.error(kind, call, said, status=status)


def _limited(refusal: Refusal, call: Call, place: Place, text: str) -> AgentError:
    is_quota = _QUOTA.search(refusal.text) is not None
    after = retry_after(refusal.headers)
    at = f"{place.provider} at {place.address}"
    if is_quota:
        return place.error(AgentRateLimitError, call, f"the quota of {at} is used up: {text}", quota=True)
    when = "without saying when to ask again" if after is None else f"and wants to be asked again in {after:g} s"
    return place.error(
        AgentRateLimitError, call, f"{at} takes no more requests now (status 429), {when}: {text}", retry_after=after
    )


def retry_after(headers: Any) -> float | None:
    """The seconds that Retry-After or Retry-After-Ms ask for; ``None`` where they say nothing that can be read."""
    found = {str(key).lower(): str(value) for key, value in dict(headers).items()}
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        if re.fullmatch(r"\d{1,9}(\.\d+)?", found.get(name, "")):
            return float(found[name]) * unit
    try:
        at = parsedate_to_datetime(found.get("retry-after", ""))
        return max(0.0, (at - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _told(text: str) -> str:
    """The message of an error in JSON; any other text without its tags."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return re.sub(r"<[^>]{0,500}>", " ", text)
    while isinstance(found, dict) and ("error" in found or "message" in found):
        found = found.get("error", found.get("message"))
    return found if isinstance(found, str) else text


def _causes(error: BaseException, outer: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and one is not outer and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _is(error: BaseException, name: str) -> bool:
    """Whether it is of that class of httpx, whichever of its relatives a client stands on."""
    return any(kind.__name__ == name and kind.__module__.startswith("httpx") for kind in type(error).__mro__)
