"""The `caesura` command: one file for each sub-command, no logic of its own."""

from caesura.cli.command import main

__all__ = ["main"]
