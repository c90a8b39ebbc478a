"""Settings that all tests share."""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """Let the programs that tests start be interrupted; background jobs of a shell ignore SIGINT."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say at the head of a run whether the compiled or the interpreted caesura is tested."""
    import caesura.wasm.leb128 as module

    compiled = not (module.__file__ or "").endswith(".py")
    return [f"caesura: {'compiled' if compiled else 'interpreted'}"]
