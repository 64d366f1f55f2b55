"""Where an S3 store is: the bucket, what its keys begin with, and how the driver gets there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from obstore.store import S3Store as Bucket

from tau.stores import server_urls

if TYPE_CHECKING:
    from obstore.store import S3Config

_SECRETS: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN", "AWS_ACCESS_KEY_ID")
_TRIES: Final = 4  # of one request, where the server says that it is busy or hangs up


class Place:
    """``location`` is for people and messages. ``root`` is what all keys of the store begin with."""

    def __init__(self, url: str, environment: Mapping[str, str] = os.environ) -> None:
        address = server_urls.s3(url, environment)
        self.location = address.location
        bucket, _, prefix = address.location.removeprefix("s3://").partition("?")[0].partition("/")
        self.bucket = bucket
        self.root = f"{prefix}/" if prefix else ""
        self.endpoint = address.own.get("endpoint", "")
        self.region = address.own.get("region", "")
        self._environment = environment

    def bucket_of(self, timeout: float) -> Bucket:
        """The driver's bucket. A request is given up when it was not answered for ``timeout`` seconds; one that the
        server refuses because it is busy is repeated for half that time."""
        config: S3Config = {"disable_bulk_delete": True}  # a DELETE costs nothing, the POST of a bulk does
        if self.endpoint:
            config["aws_endpoint_url_s3"] = self.endpoint
        if self.region:
            config["region"] = self.region
        return Bucket(
            self.bucket,
            config=config,
            client_options={
                "allow_http": self.endpoint.startswith("http:"),
                "timeout": timedelta(seconds=timeout),
                "connect_timeout": timedelta(seconds=min(5.0, timeout)),
                "user_agent": "tau",
            },
            retry_config={
                "max_retries": _TRIES,
                "retry_timeout": timedelta(seconds=timeout / 2),
                "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
            },
        )

    def hide(self, text: str) -> str:
        """``text`` without the secrets that are known here."""
        for secret in (self._environment.get(name, "") for name in _SECRETS):
            text = text.replace(secret, "***") if len(secret) > 2 else text
        return text

    def __repr__(self) -> str:
        return f"Place({self.location!r})"
