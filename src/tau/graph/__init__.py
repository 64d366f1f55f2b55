"""Building a graph, checking it, drawing it, and telling whether it changed."""
