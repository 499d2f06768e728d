"""The command line. Importing it imports no torch."""

from .main import main

__all__ = ["main"]
