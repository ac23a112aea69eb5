"""The version of this package: the server's of the same number knows every call in it."""

__version__ = "0.2.0"
