"""Executors: where the items of a parallel map are worked on."""
