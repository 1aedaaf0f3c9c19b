"""Sojourn: from a log of what users did to decisions about them."""

__version__ = "0.1.0"
