"""The version of tau; the distribution takes it from here."""

__version__ = "0.1.0"
