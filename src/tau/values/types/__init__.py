"""The types that are stored, a file for each family; each is loaded at the first sight of one of its values."""
