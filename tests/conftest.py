"""Settings that all tests share."""

from __future__ import annotations

import signal

import hypothesis
import pytest


def pytest_configure() -> None:
    """Let the programs that tests start be interrupted (background jobs of a shell ignore SIGINT); time no example.

    Tests run side by side, so how long an example takes, or the drawing of one, says nothing about it.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.register_profile(
        "untimed", parent=hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("untimed")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say at the head of a run whether the compiled or the interpreted caesura is tested."""
    import caesura.wasm.leb128 as module

    compiled = not (module.__file__ or "").endswith(".py")
    return [f"caesura: {'compiled' if compiled else 'interpreted'}"]
