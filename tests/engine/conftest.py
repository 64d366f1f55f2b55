"""Fixtures for the engine's tests."""

from __future__ import annotations

from engine_steps import store

__all__ = ["store"]
