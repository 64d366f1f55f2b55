"""What happens in a run, and the drivers that do it."""
