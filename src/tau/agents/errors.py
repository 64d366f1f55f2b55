"""What an agent raises, all below `tau.AgentError`.

::

    AgentError (RuntimeError)                   .agent .provider .model .address
    ├── AgentConnectionError (ConnectionError)
    ├── AgentTimeoutError (TimeoutError)        .seconds
    ├── AgentAuthenticationError (PermissionError)   .status
    ├── ModelNotFoundError (LookupError)
    ├── AgentRateLimitError                     .retry_after .quota
    ├── AgentRequestError (ValueError)          .status
    ├── AgentServerError                        .status
    ├── AgentStreamError                        .text
    ├── AgentAnswerError (ValueError)           .text .problems .finish_reason
    ├── PromptTooLongError (ValueError)         .prompt_tokens .limit
    ├── AgentLimitError                         .limit .used .allowed
    └── RequestsForbiddenError

No text holds a key or a token, and no error of a client's hangs on one, as it would hold the request; what a server
wrote is shown in one line, without control characters.
"""

from __future__ import annotations

from collections.abc import Sequence

from tau.errors import AgentError

__all__ = [
    "AgentAnswerError",
    "AgentAuthenticationError",
    "AgentConnectionError",
    "AgentError",
    "AgentLimitError",
    "AgentRateLimitError",
    "AgentRequestError",
    "AgentServerError",
    "AgentStreamError",
    "AgentTimeoutError",
    "ModelNotFoundError",
    "PromptTooLongError",
    "RequestsForbiddenError",
]


class AgentConnectionError(AgentError, ConnectionError):
    """The server cannot be reached, or closed the connection before it answered."""


class AgentTimeoutError(AgentError, TimeoutError):
    """The server did not send its whole answer within ``seconds``."""

    seconds: float = 0.0


class AgentAuthenticationError(AgentError, PermissionError):
    """The key is missing, or the server refused it (``status`` 401 or 403). It is never shown."""

    status: int = 0


class ModelNotFoundError(AgentError, LookupError):
    """The server does not have the model."""


class AgentRateLimitError(AgentError):
    """The server takes no more requests (429). ``retry_after``: the seconds after which it wants to be asked again,
    ``None`` where it did not say. ``quota``: what was paid for is used up, so waiting does not help."""

    retry_after: float | None = None
    quota: bool = False


class AgentRequestError(AgentError, ValueError):
    """The server refused the request itself (``status`` 400 to 422): the same request would be refused again. Or it
    cannot be sent (0)."""

    status: int = 0


class AgentServerError(AgentError):
    """The server failed (``status`` 500 and above), or what it sent is not an answer, such as an HTML page."""

    status: int = 0


class AgentStreamError(AgentError):
    """A stream ended without its end mark; ``text`` is what came until then. Nothing was journaled."""

    text: str = ""


class AgentAnswerError(AgentError, ValueError):
    """The answer is not what was asked for: it does not fit the schema, is cut off or is too large. ``text`` is the
    last answer, ``problems`` say where it does not fit."""

    text: str = ""
    problems: Sequence[str] = ()
    finish_reason: str = ""


class PromptTooLongError(AgentError, ValueError):
    """The prompt does not fit the context of the model, so the server dropped some of it or refused it. ``limit`` is
    the size of the context in tokens where it is known."""

    prompt_tokens: int = 0
    limit: int = 0


class AgentLimitError(AgentError):
    """One of the ``limits=`` of a run of the agent is used up: ``limit`` says which."""

    limit: str = ""
    used: float = 0.0
    allowed: float = 0.0


class RequestsForbiddenError(AgentError):
    """A real request was about to be made where `tau.agents.no_requests` forbids it. Nothing was sent."""
