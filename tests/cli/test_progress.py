"""The progress bar shows after a second, on a terminal, and leaves nothing behind."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

CODE = """
import time
from caesura.cli.progress import ProgressBar
bar = ProgressBar(enabled=True)
bar("reading", 0, 1000)
time.sleep(1.05)
began = time.monotonic()
for _ in range(1000):
    bar("instrumenting", 250, 1000)
bar.clear()
print(time.monotonic() - began)
"""


def test_on_a_terminal() -> None:
    """It is drawn at once, and then ten times a second."""
    control, terminal = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    shown = b""
    while chunk := _read(control):
        shown += chunk
    os.close(control)
    took, _ = process.communicate()
    assert process.returncode == 0
    bar = b"\rinstrumenting [" + b"#" * 7 + b"." * 23 + b"]  25%  250 of 1,000 functions\x1b[K"
    times = shown.count(bar)
    assert shown == bar * times + b"\r\x1b[K"
    assert 1 <= times <= 1 + float(took) / 0.1


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # Linux reports the end of a terminal so
        return b""


def test_elsewhere() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)
    assert done.stderr == b""
