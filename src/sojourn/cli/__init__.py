"""Words on the command line come in, one library call is made, files and one exit status go out."""

from sojourn.cli.app import app, main

__all__ = ["app", "main"]
