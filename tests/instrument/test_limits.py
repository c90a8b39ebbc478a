"""What engines take: where instrumenting would go beyond it the output is written another way, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import caesura
from caesura.analysis.body import Body
from caesura.instrument.frames.added_locals import AddedLocals
from caesura.instrument.frames.frame import Frame
from caesura.instrument.frames.late_locals import NOTHING_LATE
from caesura.instrument.plan.plan import Saved
from caesura.instrument.plan.regions import lay_out
from caesura.instrument.write.dispatch import br_table
from caesura.wasm.indices import LabelDepth
from tests.instrument.building import HEADER, assert_valid, leb, module, name, section, vector
from tests.support.node import run_driver
from tests.support.plain_abi import PlainGuest

F = b"\x10\0"
DROP = b"\x1a"
END = b"\x0b"
TABLE = 65_520
BODY = 7_654_321


@pytest.mark.parametrize("two_bodies", ["never", "all"])
@pytest.mark.parametrize("sites", [TABLE, TABLE + 2, 2 * TABLE + 100])
def test_more_call_sites_than_a_table_has_entries(sites: int, two_bodies: str, tmp_path: Path) -> None:
    """V8's tables are the smallest."""
    binary = module(b"\x01\x01\x7f" + (F + b"\x20\0" + DROP) * sites + END)
    file = tmp_path / "module.wasm"
    file.write_bytes(caesura.instrument(binary, caesura.Options(two_bodies=two_bodies)).module)
    assert run_driver("valid.mjs", file) is True


@pytest.mark.parametrize("most", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("cases", [1, 2, 3, 7, 12])
def test_tables_in_several_parts(cases: int, most: int) -> None:
    """The code goes where one table would go, whatever the number."""
    body = Body()
    body.local_count = 1
    layout = lay_out(body, [], set(), [], 0)
    added = AddedLocals(Frame(body, Saved([], set(), set()), [], layout, NOTHING_LATE, has_site_local=False))
    code = br_table(added, [LabelDepth(depth) for depth in range(cases)], LabelDepth(cases), most)
    assert len(added.runs()) == (1 if cases > most else 0)
    starts = b"\x02\x40" * (cases + 1)
    ends = b"".join(END + b"\x41" + leb(case) + b"\x0f" for case in range(cases + 1))  # i32.const, return
    new = sum(count for _, count in added.runs())
    function = b"\x01" + leb(new) + b"\x7f" + starts + b"\x20\0" + code + ends + END
    binary = (
        HEADER
        + section(1, vector([b"\x60\x01\x7f\x01\x7f"]))
        + section(3, b"\x01\0")
        + section(7, vector([name("run") + b"\0\0"]))
        + section(10, vector([leb(len(function)) + function]))
    )
    guest = PlainGuest(binary)
    assert [guest.call("run", number) for number in range(cases + 3)] == [
        min(number, cases) for number in range(cases + 3)
    ]


CODES = {
    "one site": F,
    "a local": F + b"\x20\x05" + DROP,
    "sites and locals": F + b"\x20\x05" + DROP + F + b"\x20\x06" + DROP,
    "a loop": b"\x03\x40" + F + b"\x20\x05" + DROP + F + b"\x41\0\x0d\0" + END,
    "an operand": b"\x41\x08\x28\x02\0" + F + DROP,
}
OPTIONS = {
    "as it is": caesura.Options(),
    "size": caesura.Options(optimize="size"),
    "two bodies": caesura.Options(two_bodies="all"),
    "thunks": caesura.Options(thunks=True, in_secondary_memory=True),
    "no multivalue": caesura.Options(no_multivalue=True),
    "asserts": caesura.Options(asserts=True, ignore_imports=True),
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("code", CODES)
def test_near_the_most_locals(code: str, option: str) -> None:
    """What comes out is valid, or nothing does."""
    refused: list[tuple[int, str]] = []
    for locals_ in range(49_995, 50_001):
        binary = module(b"\x01" + leb(locals_) + b"\x7f" + CODES[code] + END)
        try:
            assert_valid(caesura.instrument(binary, OPTIONS[option]).module)
        except caesura.UnsupportedModule as error:
            refused.append((locals_, error.kind))
    assert refused == [(locals_, "too many locals") for locals_ in range(50_001 - len(refused), 50_001)]
    assert len(refused) < 6


def test_more_bytes_than_a_function_may_have() -> None:
    block = b"\x02\x40\x41\0\x0e" + leb(TABLE) + bytes(TABLE + 1) + END  # few instructions, many bytes
    count = BODY // len(block)
    filler = b"\x01" * (BODY - len(block) * count - 20)
    binary = module(b"\0" + block * count + filler + F + F + END)
    with pytest.raises(caesura.UnsupportedModule, match="engines allow 7,654,321") as error:
        caesura.instrument(binary)
    (refusal,) = error.value.refusals
    assert (refusal.function, refusal.kind) == ("function 1", "too many bytes")
