"""Graphs that crash at every point, in a simulated world."""
