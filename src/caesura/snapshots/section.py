"""The section in which a module tells what its state consists of (docs/abi.md), read and checked.

Its author may lie: every field is of its kind here, texts can be written again, and indices ascend, but nothing is
compared with the module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from caesura.abi import SECOND_STATE_VERSION, STATE_DIGEST, STATE_VERSION
from caesura.errors import MalformedModule, UnsupportedModule
from caesura.records import Record
from caesura.wasm.leb128 import read_u32
from caesura.wasm.types import ANYREF, EXNREF, EXTERNREF, F32, F64, FUNCREF, I32, I64, V128

_NUMBERS: Final = {"i32": I32, "i64": I64, "f32": F32, "f64": F64, "v128": V128}
_REFERENCES: Final = {"funcref": FUNCREF, "externref": EXTERNREF}
_HELD: Final = {**_REFERENCES, "anyref": ANYREF, "exnref": EXNREF}

# More indices than this no module has.
_MOST: Final = 1 << 32

_BAD: Final = "the section asyncify.state of the module is not as it should be"


@dataclass(frozen=True, eq=False, repr=False)
class StateMemory(Record):
    """A memory: its index, the bytes of a page, whether its addresses have 64 bits, and whether threads share it."""

    index: int
    page_size: int
    wide: bool
    shared: bool
    imported: bool


@dataclass(frozen=True, eq=False, repr=False)
class StateGlobal(Record):
    """A mutable global: its index, and its type code.

    One that is reached by functions has the type above its own, and that one as text in `declared`.
    """

    index: int
    type: int
    imported: bool
    declared: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class StateTable(Record):
    """A table that may change: its index, the type of its elements, and whether its indices have 64 bits.

    One that is reached by functions has the type above its own, and that one as text in `declared`.
    """

    index: int
    type: int
    wide: bool
    imported: bool
    declared: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class StateTag(Record):
    """A tag: the types of what its exceptions carry, or in words why they cannot be saved."""

    types: tuple[int, ...]
    unsaved: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class FrameTables(Record):
    """The tables in which references of frames lie, and whether the asyncify stack ends with where."""

    tables: tuple[int, ...] = ()
    runs: bool = False


_Item = TypeVar("_Item", StateMemory, StateGlobal, StateTable)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StateSection(Record):
    """What a module's state consists of.

    `original` and `instrumented` are SHA-256 digests, the latter of the module without custom sections; `contract`,
    `imports` and `options` are those of `state.ModuleIdentity`. `data` and `elements` are the passive segments that may
    be dropped, `functions` those that the module lists, in that order (none: it has no such list). `starts` tells that
    hosts call the start function, `unsaved` what is state but cannot be saved, in words; `undropped` are those of
    `elements` that cannot be saved before they are dropped. `added_tables` are those that hold no state of the guest's.
    `tags` are all of the module's, where exceptions can be in the state.
    """

    original: bytes
    instrumented: bytes
    contract: int
    imports: tuple[str, ...]
    options: Mapping[str, Any]
    memories: tuple[StateMemory, ...]
    globals: tuple[StateGlobal, ...]
    tables: tuple[StateTable, ...]
    data: tuple[int, ...]
    elements: tuple[int, ...]
    functions: tuple[int, ...]
    starts: bool
    unsaved: tuple[str, ...]
    added_tables: int
    tags: tuple[StateTag, ...] = ()
    frames: FrameTables = FrameTables()
    undropped: tuple[int, ...] = ()


def read_section(payload: bytes) -> StateSection:
    """Return what the section tells; raises UnsupportedModule for what is none, or another version's."""
    try:
        version, position = read_u32(payload, 0)
        if not STATE_VERSION <= version <= SECOND_STATE_VERSION:
            raise UnsupportedModule(
                f"the module tells of its state by version {version} of the section asyncify.state, and this caesura "
                f"knows versions up to {SECOND_STATE_VERSION}: use a caesura that knows {version}, or instrument the "
                "original anew"
            )
        end_of_digests = position + 2 * STATE_DIGEST
        digests = payload[position:end_of_digests]
        size, start = read_u32(payload, end_of_digests)
        if start + size > len(payload):
            raise UnsupportedModule(f"{_BAD}: it is cut off")
        content = json.loads(payload[start : start + size].decode("utf-8"), parse_constant=_refuse_constant)
        json.dumps(content, ensure_ascii=False).encode("utf-8")  # escapes may have made what is no text
    except (MalformedModule, ValueError, RecursionError) as error:
        raise UnsupportedModule(f"{_BAD}: it is cut off, or no JSON") from error
    if not isinstance(content, dict):
        raise UnsupportedModule(f"{_BAD}: it is no JSON object")
    return _section(digests, content, payload[start + size :])


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _section(digests: bytes, content: dict[str, Any], bitmap: bytes) -> StateSection:
    options = content.get("options")
    if not isinstance(options, dict):
        raise UnsupportedModule(f"{_BAD}: options")
    memories = [
        StateMemory(
            _number(item, "index"),
            _number(item, "page_size"),
            _flag(item, "wide"),
            _flag(item, "shared"),
            _flag(item, "imported"),
        )
        for item in _objects(content, "memories")
    ]
    globals_ = [
        StateGlobal(
            _number(item, "index"), _type(item, {**_NUMBERS, **_known(item)}), _flag(item, "imported"), _declared(item)
        )
        for item in _objects(content, "globals")
    ]
    tables = [
        StateTable(
            _number(item, "index"),
            _type(item, _known(item)),
            _flag(item, "wide"),
            _flag(item, "imported"),
            _declared(item),
        )
        for item in _objects(content, "tables")
    ]
    return StateSection(
        original=digests[:STATE_DIGEST],
        instrumented=digests[STATE_DIGEST:],
        contract=_number(content, "contract"),
        imports=_texts(content, "imports"),
        options={name: tuple(value) if isinstance(value, list) else value for name, value in options.items()},
        memories=_ascending(memories, "memories"),
        globals=_ascending(globals_, "globals"),
        tables=_ascending(tables, "tables"),
        data=_indices(content, "data"),
        elements=_indices(content, "elements"),
        functions=_functions(bitmap),
        starts=_flag(content, "starts"),
        unsaved=_texts(content, "unsaved"),
        added_tables=_number(content, "added_tables"),
        tags=tuple(_tag(item) for item in _objects(content, "tags")) if "tags" in content else (),
        frames=_frames(content["frames"]) if "frames" in content else FrameTables(),
        undropped=_indices(content, "undropped") if "undropped" in content else (),
    )


def _declared(item: dict[str, Any]) -> str:
    found = item.get("declared", "")
    if not isinstance(found, str):
        raise UnsupportedModule(f"{_BAD}: declared")
    return found


def _known(item: dict[str, Any]) -> Mapping[str, int]:
    return _HELD if _declared(item) else _REFERENCES


def _tag(item: dict[str, Any]) -> StateTag:
    why = item.get("unsaved", "")
    if not isinstance(why, str):
        raise UnsupportedModule(f"{_BAD}: tags")
    if why:
        return StateTag((), why)
    types = [_NUMBERS.get(name) for name in _texts(item, "types")]
    if None in types:
        raise UnsupportedModule(f"{_BAD}: tags")
    return StateTag(tuple(kind for kind in types if kind is not None))


def _frames(content: object) -> FrameTables:
    if not isinstance(content, dict):
        raise UnsupportedModule(f"{_BAD}: frames")
    return FrameTables(_indices(content, "tables"), _flag(content, "runs"))


def _functions(bitmap: bytes) -> tuple[int, ...]:
    return tuple(8 * place + bit for place, byte in enumerate(bitmap) if byte for bit in range(8) if byte >> bit & 1)


def _list(content: dict[str, Any], name: str) -> list[Any]:
    found = content.get(name)
    if not isinstance(found, list):
        raise UnsupportedModule(f"{_BAD}: {name}")
    return found


def _objects(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = _list(content, name)
    if not all(isinstance(item, dict) for item in found):
        raise UnsupportedModule(f"{_BAD}: {name}")
    return found


def _texts(content: dict[str, Any], name: str) -> tuple[str, ...]:
    found = _list(content, name)
    if not all(isinstance(item, str) for item in found):
        raise UnsupportedModule(f"{_BAD}: {name}")
    return tuple(found)


def _indices(content: dict[str, Any], name: str) -> tuple[int, ...]:
    found = _list(content, name)
    if not all(_is_number(item) for item in found) or sorted(set(found)) != found:
        raise UnsupportedModule(f"{_BAD}: {name}")
    return tuple(found)


def _ascending(items: list[_Item], name: str) -> tuple[_Item, ...]:
    indices = [item.index for item in items]
    if sorted(set(indices)) != indices:
        raise UnsupportedModule(f"{_BAD}: {name}")
    return tuple(items)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def _number(item: dict[str, Any], name: str) -> int:
    found = item.get(name)
    if not _is_number(found):
        raise UnsupportedModule(f"{_BAD}: {name}")
    assert isinstance(found, int)
    return found


def _flag(item: dict[str, Any], name: str) -> bool:
    found = item.get(name)
    if not isinstance(found, bool):
        raise UnsupportedModule(f"{_BAD}: {name}")
    return found


def _type(item: dict[str, Any], types: Mapping[str, int]) -> int:
    found = item.get("type")
    if not isinstance(found, str) or found not in types:
        raise UnsupportedModule(f"{_BAD}: type")
    return types[found]
