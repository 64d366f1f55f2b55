"""Schemas: what the values of a state must be, said by a class of the user's."""
