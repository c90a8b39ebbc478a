"""The version of the contract that a module carries is checked before anything else of the module is looked at."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

import caesura
from caesura.abi import (
    CONTRACT_SECTION,
    CONTRACT_VERSION,
    NEWEST_VERSION,
    UNVERSIONED_SECTION,
)
from caesura.wasm.leb128 import encode_name, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections
from tests.host.support import run
from tests.support.engine import assemble

GUEST: Final = assemble("""
  (module
    (import "env" "ask" (func $ask (result i32)))
    (memory (export "memory") 10)
    (func (export "malloc") (param i32) (result i32) (i32.const 1024))
    (func (export "f") (result i32) (i32.add (call $ask) (i32.const 1))))
""")
THUNKS: Final = caesura.Options(thunks=True, in_secondary_memory=True)
LISTED: Final = caesura.Options(imports=("env.ask",))
PLAIN: Final = caesura.Options()


def instrumented(options: caesura.Options, contract: bytes | None, **others: bytes) -> bytes:
    """Return the instrumented guest with another section of the contract, or none, and other custom sections."""
    module = Module(caesura.instrument(GUEST, options).module)
    edits = SectionEdits()
    edits.custom[CONTRACT_SECTION] = contract
    for name, payload in others.items():
        edits.custom[f"asyncify.{name}"] = payload
    return write_sections(module.data, module.sections, edits)


async def ask() -> int:
    await asyncio.sleep(0)
    return 41


def driven(module: bytes) -> None:
    """Load a module and call its `f`, which suspends."""

    async def main() -> None:
        assert await (await caesura.load(module, {"env": {"ask": ask}}, cache=False)).call("f") == 42

    run(main())


def refused(match: str, module: bytes) -> None:
    with pytest.raises(caesura.UnsupportedModule, match=match):
        driven(module)


@pytest.mark.parametrize("options", [THUNKS, LISTED], ids=["thunks", "listed"])
def test_only_versions_that_this_host_knows_are_driven(options: caesura.Options) -> None:
    driven(instrumented(options, encode_unsigned(CONTRACT_VERSION) + b"\0"))
    for version in (0, NEWEST_VERSION + 1, 300, (1 << 32) - 1):
        known = f"version {version} of the contract .* this host knows versions 1 to {NEWEST_VERSION}: .* instrument"
        refused(known, instrumented(options, encode_unsigned(version) + b"\0"))


def test_a_module_that_may_be_linked_with_others_runs_alone() -> None:
    linked = caesura.instrument(GUEST, caesura.Options(thunks=True, in_secondary_memory=True, linked=True)).module
    driven(linked)
    assert Module(linked).custom_section(CONTRACT_SECTION) is not None
    with pytest.raises(caesura.UsageError, match="linked belongs to thunks"):
        caesura.Options(linked=True)


def test_modules_from_before_there_were_versions_are_recognised() -> None:
    anew = f"an older caesura instrumented it.* knows versions 1 to {NEWEST_VERSION}: instrument the original anew"
    assert UNVERSIONED_SECTION == "asyncify.facts"
    for options in (THUNKS, LISTED, PLAIN):
        refused(anew, instrumented(options, None, facts=b"\0"))
    refused(anew, instrumented(THUNKS, None))


def test_the_plain_abi_has_no_version() -> None:
    assert Module(caesura.instrument(GUEST, PLAIN).module).custom_section(CONTRACT_SECTION) is None
    driven(instrumented(PLAIN, None))


@pytest.mark.parametrize(
    ("contract", "why"),
    [
        (b"", "tells no version"),
        (b"\xff\xff\xff\xff\x1f\0", "tells no version"),
        (b"\x01", "cut off"),
        (b"\x01\x80", "cut off"),
        (b"\x01\0\x80", "cut off"),
        (b"\x01\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "cut off"),
        (b"\x01\x40", "more than version 1 has"),
        (b"\x01\x80\x08", "more than version 1 has"),
        (b"\x02\x80\x08", "more than version 2 has"),
        (b"\x01\0\0\0", "more than version 1 has"),
    ],
)
def test_numbers_that_are_wrong(contract: bytes, why: str) -> None:
    refused(why, instrumented(THUNKS, contract))


def test_the_version_comes_before_everything_else() -> None:
    """Of a module from the future nothing else is understood, be it how it is instrumented or that it cannot run."""
    shared = assemble('(module (memory (export "memory") 1 1 shared))')
    section = encode_name(CONTRACT_SECTION) + bytes([NEWEST_VERSION + 1])
    refused("version", shared + b"\0" + encode_unsigned(len(section)) + section)
