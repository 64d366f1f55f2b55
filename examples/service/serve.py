"""Serve the app on loopback: `python serve.py`. PORT is 8000, or what the environment says."""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from app import app, stop


class Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: Any) -> None:
        stop.set("the server stops")  # before uvicorn waits for open streams: they end with their runs
        super().handle_exit(sig, frame)


def main() -> None:
    Server(uvicorn.Config(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))).run()


if __name__ == "__main__":
    main()
