"""Runs in a directory of files."""

from tau.stores.file.store import FileStore

__all__ = ["FileStore"]
