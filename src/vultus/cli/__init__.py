"""The command line: parse, call a workflow, print."""

from vultus.cli.app import main

__all__ = ["main"]
