"""Where the servers of the tests are, and what was asked of the one of their own."""

from __future__ import annotations

import json
import socket
import urllib.parse
import urllib.request
from contextlib import closing
from typing import Any

PATIENCE = 60


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Front:
    """The server of `front_program`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def told(self, model: str, count: int = 0) -> dict[str, Any]:
        """What was asked of a model and answered, once there were so many requests."""
        query = urllib.parse.urlencode({"model": model, "count": count})
        with urllib.request.urlopen(f"{self.url}/requests?{query}", timeout=PATIENCE) as found:
            told: dict[str, Any] = json.load(found)
            return told

    def requests(self, model: str, count: int = 0) -> list[Any]:
        found: list[Any] = self.told(model, count)["requests"]
        return found
