"""The version of this package, where every part of it can import it."""

__version__ = "0.1.0"
