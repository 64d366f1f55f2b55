"""What S3, services like it and obstore say, in the words of `tau.errors`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from tau.errors import StoreError, StoreFullError, StoreUnavailableError

DRIVERS: Final = (BaseError, FileNotFoundError, PermissionError)
"""What the driver raises."""


class _Known(NamedTuple):
    remedy: str
    transient: bool = True
    kind: type[StoreError] = StoreUnavailableError


_BUSY: Final = _Known("the service is busy: wait for it, or spread the runs over several prefixes")
_AWAY: Final = _Known("check that the endpoint is up, its host and port (AWS_ENDPOINT_URL), and the network")
_RIGHTS: Final = _Known(
    "these credentials lack rights: allow s3:ListBucket on the bucket, s3:GetObject on its objects to read, "
    "s3:PutObject and s3:DeleteObject, too, to write",
    transient=False,
)
_REFUSED: Final = _Known(
    "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (a profile of ~/.aws is not read: "
    'eval "$(aws configure export-credentials --format env)")',
    transient=False,
)
_EXPIRED: Final = _Known("the credentials have expired: set new ones, then resume", transient=False)
_ELSEWHERE: Final = _Known("the bucket is in another region: set AWS_REGION, or ?region= in the URL", transient=False)
_FULL: Final = _Known("free some space, or raise the quota of the bucket", kind=StoreFullError)

_BY_CODE: Final = {
    "NoSuchBucket": _Known("create the bucket, or name another one", transient=False),
    "InvalidBucketName": _Known("name a bucket that can exist", transient=False),
    "AccessDenied": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "AccountProblem": _RIGHTS,
    "InvalidObjectState": _Known(
        "a rule of the bucket has moved it to an archive: restore it, and take the prefix out of that rule",
        transient=False,
    ),
    "InvalidAccessKeyId": _REFUSED,
    "SignatureDoesNotMatch": _REFUSED,
    "InvalidToken": _REFUSED,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "RequestTimeTooSkewed": _Known("the clock of this machine is wrong: set it (NTP)", transient=False),
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "PermanentRedirect": _ELSEWHERE,
    "EntityTooLarge": _Known("an object has at most 5 GB: split this value", kind=StoreFullError),
    "QuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
    "InsufficientStorage": _FULL,
    "NotImplemented": _Known("the service does not offer what tau needs: use another one", transient=False),
    "SlowDown": _BUSY,
    "ServiceUnavailable": _BUSY,
    "InternalError": _BUSY,
    "RequestTimeout": _BUSY,
    "OperationAborted": _BUSY,
    "ConditionalRequestConflict": _BUSY,
}
_BY_STATUS: Final = {"301": _ELSEWHERE, "401": _REFUSED, "403": _RIGHTS, "429": _BUSY, "507": _FULL}
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]*)</Message>")
_STATUS: Final = re.compile(r"(?:status code|error status code|status): (\d{3})")
_NO_CREDENTIALS: Final = "http://169.254."  # where a machine in the cloud asks for them when nothing else names any


def failure(error: Exception, location: str, doing: str, hide: Callable[[str], str]) -> StoreError:
    """The error for one of the driver, met while ``doing`` something (as in "commit to"); ``hide`` masks secrets.

    The driver repeats the service's whole answer, in which signatures and tokens may stand: of that only the code and
    the sentence are told.
    """
    text = str(error)
    code = next(iter(_CODE.findall(text)), "")
    status = next(iter(_STATUS.findall(text)), "")
    sentence = next(iter(_MESSAGE.findall(text)), "")
    if _NO_CREDENTIALS in text:
        return _made(f"cannot {doing} {location}: no credentials were found", _REFUSED, location)
    if code:
        said = f"the service says {hide(f'{code}: {sentence}')!r}"
    elif status:
        said = f"the service answers with status {status}"
    else:
        said = hide(_first_cause(text))
    known = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if known is None and status[:1] == "5":
        known = _BUSY
    if known is None and not code and not status:
        known = _AWAY
    if known is None and isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError):
        known = _RIGHTS
    return _made(f"cannot {doing} {location}: {said}", known, location)


def lacks_bucket(error: FileNotFoundError) -> bool:
    """Whether it is not the object that is missing, but the bucket."""
    return "NoSuchBucket" in str(error)


def _first_cause(text: str) -> str:
    """What of the driver's long text says why no answer came."""
    for words, said in (
        ("dns error", "its host is not known"),
        ("kind: Timeout", "no answer in time"),
        ("kind: Connect", "no connection"),
        ("HTTP error", "the connection broke"),
    ):
        if words in text:
            return said
    return " ".join(text.partition("Debug source:")[0].split())[:200] or "no answer"


def _made(said: str, known: _Known | None, location: str) -> StoreError:
    if known is None:
        return StoreError(f"{said}; see the log of the service", location=location)
    if known.kind is StoreFullError:
        return StoreFullError(f"{said}; {known.remedy}", location=location)
    return StoreUnavailableError(f"{said}; {known.remedy}", location=location, transient=known.transient)
