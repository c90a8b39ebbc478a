"""Joining very many pieces gives the same bytes as joining few, and takes little memory besides."""

from __future__ import annotations

import tracemalloc

import pytest

from caesura.wasm.pieces import join_pieces


@pytest.mark.parametrize("count", [0, 1, 4_096, 4_097, 20_000])
@pytest.mark.parametrize("size", [1, 200])
def test_pieces_are_joined_in_order(count: int, size: int) -> None:
    pieces = [bytes([number % 251]) * size for number in range(count)]
    assert join_pieces(pieces) == b"".join(pieces)


def test_memory_is_that_of_the_result() -> None:
    count = 200_000
    pieces = [b"ab", b"c"] * (count // 2)
    tracemalloc.start()
    try:
        join_pieces(pieces)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * count
