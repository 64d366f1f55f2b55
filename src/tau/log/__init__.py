"""A run's log: its records, who may append to it, and what it adds up to."""
