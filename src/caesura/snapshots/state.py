"""What a saved guest consists of, as data: the one model that hosts fill, the format writes and tools look at.

Everything is what the guest itself has: memories, globals, tables, which segments were dropped, the suspended calls,
and, since hosts keep them, where its C stacks lie and which files it has open. Numbers are bits, unsigned, so that no
NaN and no sign gets lost. Functions are indices in the *instrumented* module's index space, which `ModuleIdentity`
names: frames fit that one module only.

Nothing here is checked against a module: `format` sees to it that each field is of its kind and within the bounds that
the field's description says, and who restores a guest compares the rest with the module that it has at hand.

Objects with methods were rejected, as was pickling: a state comes from strangers, and from JavaScript.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from caesura.records import Record

# In bytes: what contents of memories are cut into. No engine's page of memory is smaller but a custom page of one byte.
CHUNK: Final = 4096

# What a call that was paused at the end of its time slice waits in, where the name of a host function stands else.
PAUSE_NAME: Final = "pause"

# What stands for null among the functions and objects of a table.
NULL: Final = 0xFFFF_FFFF

# The largest number that a reference can be (i31).
MOST_NUMBER: Final = (1 << 31) - 1


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ModuleIdentity(Record):
    """Which module a state is of.

    `original` and `instrumented` are SHA-256 digests, 32 bytes: of the module as it was given, and of the instrumented
    one without its custom sections. `imports` are the imports that may suspend in it, as "module.name", `options` the
    transformation's that are not the default, by name. `contract` is the version of docs/abi.md. `path` is where the
    module was loaded from ("": from bytes).
    """

    original: bytes
    instrumented: bytes
    contract: int
    imports: tuple[str, ...]
    options: Mapping[str, Any]
    path: str = ""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MemoryState(Record):
    """A memory, by its index. `size` is bytes, a multiple of `page_size`.

    `runs` are the parts that are not zero, in ascending order: each begins at a multiple of CHUNK, which is given as
    the number of the chunk, and has whole chunks, but for the last of a memory that ends within one. They do not
    overlap and do not touch.

    `initial` are the parts that are as the module's own data segments make them, and are not in `runs`: where each
    begins and how long it is, in chunks, in ascending order. They do not overlap and do not touch either. What is in
    neither is zero.
    """

    index: int
    size: int
    page_size: int
    runs: tuple[tuple[int, bytes], ...]
    initial: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GlobalState(Record):
    """A mutable global, by its index: its type code (`caesura.wasm.types`), and its bits.

    Bits are unsigned, of 32, 64 or 128. For a funcref they are a function's index, for an externref the number of one
    of the state's `objects`, for an exnref of one of its `exceptions`, for an anyref a number of 31 bits, unsigned.
    Null is NULL. A reference's type is what is above all in its hierarchy, whatever the global's own.
    """

    index: int
    type: int
    bits: int


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TableState(Record):
    """A table that may have changed, by its index. `type` and what stands for elements are as in globals.

    `elements` has 4 bytes, little endian, for each.
    """

    index: int
    type: int
    elements: bytes


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ExceptionState(Record):
    """An exception that something refers to: the index of its tag, and what it carries, each a type code and bits."""

    tag: int
    values: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class KeptState(Record):
    """What a host put onto a C stack for a call (`caesura.host.kept_arguments`): addresses, and bytes that are away.

    `neighbour` is the place among `calls` of the call on whose stack it lies, or None.
    """

    low: int
    high: int
    stack: int
    neighbour: int | None
    noted: bytes | None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CallRecord(Record):
    """A suspended call.

    `export` is the export's name, `function` the import at which it is suspended, as "module.name"; `arguments` are
    that import's, each a type code and bits, as globals have them. `frames` are the bytes of its frames on the asyncify
    stack. `mode` is how it was begun (`MODES`). `waited` is for how many nanoseconds it has
    slept, if it is suspended in WASI's `poll_oneoff`.

    `stack` is the address of its C stack from the guest's `malloc` (0: the guest's own, or there is none),
    `stack_pointer` where that stands, `bottom` where it stood at the suspension before anything was allocated behind,
    `resting_pointer` where the pointer was when the guest was entered.
    """

    export: str
    function: str
    arguments: tuple[tuple[int, int], ...]
    frames: bytes
    mode: str
    waited: int = 0
    stack: int = 0
    stack_pointer: int = 0
    bottom: int = 0
    resting_pointer: int = 0
    kept: KeptState | None = None


MODES: Final = ("call", "generate", "agenerate", "start")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class StacksState(Record):
    """Where a guest's C stacks lie that its `malloc` gave: their addresses and the size of each, in bytes.

    `spare` and `surplus` are those that no call uses. `main` is the place among `calls` of the call on the guest's own
    stack. `home`, `settled`, `unclaimed`, `held` and `late` are `caesura.host.resting_pointer`'s, `limits` what the
    guest's globals with the limits of its own stack held.
    """

    size: int = 0
    stacks: tuple[int, ...] = ()
    spare: tuple[int, ...] = ()
    surplus: tuple[int, ...] = ()
    limits: tuple[int, ...] = ()
    main: int | None = None
    home: int | None = None
    settled: bool = True
    unclaimed: int = 0
    held: tuple[int, ...] = ()
    late: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Descriptor(Record):
    """An open descriptor of a WASI program.

    `kind` is "stdin", "stdout", "stderr", "preopen", "file" or "folder". `below` is the place among the `folders` that
    the guest was given of the one that it is, or lies in, and `path` the guest's, below that folder (for "preopen" the
    folder's name itself). `lookup`, `flags` are as in `path_open`, `rights` and `inheriting` WASI's, `offset` where it
    stands. `identity` tells whether the file is the same later: device, number, or () if that is not known. A "stdin"
    has these two where a command's program reads a file.
    """

    number: int
    kind: str
    path: str = ""
    below: int = -1
    lookup: int = 0
    flags: int = 0
    rights: int = 0
    inheriting: int = 0
    offset: int = 0
    identity: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WasiState(Record):
    """What a WASI program sees of the world. `folders` are (the guest's path, the host's, writable) of what was given.

    `monotonic` is what its monotonic clock showed, in nanoseconds. `highest` is the highest number that a descriptor
    has had, if that one is not open any more, else 0.
    """

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[tuple[str, str, bool], ...] = ()
    descriptors: tuple[Descriptor, ...] = ()
    monotonic: int = 0
    highest: int = 0


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class State(Record):
    """Everything of a guest. `objects` are what its externrefs refer to, as the user's codec wrote them, `exceptions`
    what its exnrefs do.

    `dropped_data` and `dropped_elements` are the passive segments that were dropped. `area` is where the asyncify stack
    lies, first address and the one behind it, if that is in a memory of the guest's own (modules that were instrumented
    elsewhere). `embedded` is the instrumented module, if it was asked for. There is no date in it: the same state gives
    the same bytes.
    """

    module: ModuleIdentity
    memories: tuple[MemoryState, ...]
    globals: tuple[GlobalState, ...]
    tables: tuple[TableState, ...] = ()
    dropped_data: tuple[int, ...] = ()
    dropped_elements: tuple[int, ...] = ()
    calls: tuple[CallRecord, ...] = ()
    area: tuple[int, int] | None = None
    stacks: StacksState = StacksState()
    wasi: WasiState | None = None
    objects: tuple[bytes, ...] = ()
    exceptions: tuple[ExceptionState, ...] = ()
    embedded: bytes | None = None
