"""Workflows: a chain of steps, the same task on many items at once, a choice between routes; alone or as nodes."""
