"""Crash tests: a user's graph is run in child processes that are killed, resumed and judged."""
