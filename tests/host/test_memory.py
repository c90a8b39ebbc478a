"""The guest's memory in Python: bytes, strings, structures, views; its end, and its growth."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import wasmtime

import caesura
from tests.host.support import run
from tests.support.paths import REPOSITORY

GUEST = b"""(module (memory (export "memory") 1 4)
  (func (export "grow") (result i32) i32.const 1 memory.grow))"""


async def load_memory() -> caesura.Guest:
    return await caesura.load(GUEST)


def test_memory_reads_and_writes() -> None:
    async def main() -> None:
        guest = await load_memory()
        memory = guest.memory
        assert len(memory) == 65536
        memory.write(100, b"bytes")
        assert memory.read(100, 5) == b"bytes"
        assert memory.write_string(200, "größe", 16) == 7
        assert memory.read_string(200) == memory.read_string(200, 7) == "größe"
        memory.write_struct("<IQd", 300, 7, 2**40, 0.5)
        assert memory.read_struct("<IQd", 300) == (7, 2**40, 0.5)
        memory.write(65536 - 300, b"x" * 299 + b"\0")
        assert memory.read_string(65536 - 300) == "x" * 299

    run(main())


def test_views_survive_growth() -> None:
    async def main() -> None:
        guest = await load_memory()
        view = guest.memory.view(65530, 6)
        view[0:3] = b"abc"
        view[-1] = 255
        assert guest.call_nowait("grow") == 1
        assert len(guest.memory) == 131072
        assert bytes(view) == b"abc\0\0\xff" and view[0] == 97 and view[-1] == 255 and len(view) == 6
        assert view[::2] == b"ac\0"
        guest.memory.write(131071, b"!")
        with pytest.raises(IndexError):
            view[6]
        wide = memoryview(bytes(8)).cast("I")
        with pytest.raises(ValueError, match="same length"):
            view[: len(wide)] = wide

    run(main())


@pytest.mark.parametrize(("address", "size"), [(65536, 1), (-1, 1), (65530, 7), (0, 65537), (2**32, 1), (5, -1)])
def test_memory_has_an_end(address: int, size: int) -> None:
    async def main() -> None:
        guest = await load_memory()
        with pytest.raises(caesura.UsageError, match="it has 65536 bytes"):
            guest.memory.read(address, size)
        with pytest.raises(caesura.UsageError, match="it has 65536 bytes"):
            guest.memory.view(address, size)

    run(main())


def test_strings_that_do_not_fit() -> None:
    async def main() -> None:
        guest = await load_memory()
        with pytest.raises(caesura.UsageError, match="do not fit into 3 bytes"):
            guest.memory.write_string(0, "abc", 3)
        guest.memory.write(65535, b"x")
        with pytest.raises(caesura.UsageError, match="no zero byte"):
            guest.memory.read_string(65535)

    run(main())


def test_memory_takes_bytes_only() -> None:
    async def main() -> None:
        memory = (await load_memory()).memory
        memory.write(0, b"kept")
        for content in (4, "text", None, [1]):
            with pytest.raises(caesura.UsageError, match="expected bytes"):
                memory.write(0, content)  # type: ignore[arg-type]
        memory.write(4, bytearray(b"!"))
        memory.write(5, memoryview(b"?"))
        assert memory.read(0, 6) == b"kept!?"
        view = memory.view(0, 4)
        for place, wrong, error in [
            (0, b"x", TypeError),
            (slice(0, 2), 5, TypeError),
            (slice(0, 2), b"xyz", ValueError),
            (slice(0, 4, 2), b"xy", ValueError),
            (0, 256, ValueError),
            (-5, 1, IndexError),
        ]:
            with pytest.raises(error):
                view[place] = wrong  # type: ignore[call-overload]
        assert bytes(view) == b"kept"

    run(main())


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("read", ("a", 1), "address is 'a': expected an integer"),
        ("read", (0.5, 1), "address is 0.5: expected an integer"),
        ("read", (0, 1.0), "size is 1.0: expected an integer"),
        ("read_string", ("a",), "address is 'a'"),
        ("read_string", (0, "a"), "size is 'a'"),
        ("read_string", (0, 1, "nonsense"), "cannot be read as nonsense: unknown encoding"),
        ("read_string", (8,), "guest's string cannot be read as utf-8"),
        ("read_string", (8, 2), "guest's string cannot be read as utf-8"),
        ("write", ("a", b""), "address is 'a'"),
        ("write_string", (0, b"x", 9), "text is b'x': expected text"),
        ("write_string", (0, "x", "9"), "size is '9'"),
        ("write_string", (0, "\ud800", 9), "cannot be written as utf-8"),
        ("read_struct", ("<Z", 0), "the structure '<Z': bad char"),
        ("read_string", (0, 1, "utf-8\0"), "cannot be read as utf-8"),
        ("write_string", (0, "x", 9, "\0"), "cannot be written as"),
        ("read_struct", (0, "<I"), "the structure 0"),
        ("read_struct", ("<\u00e9", 0), "the structure '<.'"),
        ("read_struct", (memoryview(bytearray(4)), 0), "the structure <memory"),
        ("write_struct", ("<\u00e9", 0, 1), "the structure '<.'"),
        ("write_struct", ("<4000000000000s", 0, b"x"), "4000000000000 bytes at address 0"),
        ("write_struct", ("<I", 0, "x"), "the structure '<I': required argument is not an integer"),
        ("write_struct", ("<I", 0, 1 << 40), "the structure '<I'"),
        ("write_struct", ("<f", 0, 1e300), "the structure '<f'"),
        ("view", ("a", 1), "address is 'a'"),
        ("view", (0, 1.5), "size is 1.5"),
    ],
)
def test_arguments_of_the_wrong_kind(method: str, arguments: tuple[Any, ...], message: str) -> None:
    async def main() -> None:
        memory = (await load_memory()).memory
        memory.write(8, b"\xff\xfe\0")
        before = memory.read(0, 64)
        with pytest.raises(caesura.UsageError, match=message):
            getattr(memory, method)(*arguments)
        assert memory.read(0, 64) == before

    run(main())


def test_a_memory_that_is_not_exported_is_found() -> None:
    async def main() -> None:
        for text in (
            b'(module (memory 1) (func (export "get") (result i32) (i32.load8_u (i32.const 7))))',
            b'(module (import "env" "m" (memory 1)) (func (export "get") (result i32) (i32.load8_u (i32.const 7))))',
        ):
            guest = await caesura.load(text, {"env": {"m": wasmtime.MemoryType(wasmtime.Limits(1, None))}})
            guest.memory.write(7, b"*")
            assert guest.call_nowait("get") == ord("*")
            assert guest.exports == ("get",)
        guest = await caesura.load(b'(module (func (export "get")))')
        with pytest.raises(caesura.UsageError, match="has no memory"):
            guest.memory  # noqa: B018

    run(main())


def test_the_documentation_has_the_methods_as_they_are() -> None:
    text = (REPOSITORY / "docs" / "host.md").read_text(encoding="utf-8")
    methods = [name for name in vars(caesura.GuestMemory) if not name.startswith("_")]
    assert methods
    for name in methods:
        parameters = list(inspect.signature(getattr(caesura.GuestMemory, name)).parameters.values())[1:]
        written = ", ".join(str(each.replace(annotation=each.empty)) for each in parameters).replace("'", '"')
        assert f"| `{name}({written})` |" in text, name
