"""What the command says on standard error, one line at a time.

Names from modules end up in messages, so everything that a terminal would not print as it is gets escaped.
"""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """Print a line."""
    print(one_line(message), file=sys.stderr)


def say_warning(message: str) -> None:
    """Print a line that warns."""
    say(f"caesura: warning: {message}")


def say_error(message: str) -> None:
    """Print a line that tells why the command ends."""
    say(f"caesura: error: {message}")


def one_line(text: str) -> str:
    """Return a text in one line, with escapes for what is not printable."""
    words = " ".join(text.split())
    if words.isprintable():
        return words
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in words)
