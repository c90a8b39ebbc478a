"""The two globals of the ABI: the state (i32) and the pointer to the asyncify data.

They are the module's own, appended to its globals; with `import_globals` they were put among its imports when its
indices were renumbered, with `export_globals` they are exported (dynamic linking shares them between modules).

Where lists say what may suspend there is a third one: where the frames begin (see `Runtime.is_unwinding`). Modules that
share the state do without, since each would know only the suspensions that it began itself. Another one, which hosts
may read and set, is the flag of `foreign_handlers`, another one that of `guard`; so is the one with which a host of the
plain ABI says where a suspension is to go that begins at a pause point.
"""

from __future__ import annotations

from typing import Final

from caesura.abi import (
    CONTROL_BLOCK,
    DATA_GLOBAL,
    FOREIGN_HANDLER,
    LEAVING_STATE,
    PAUSE_DATA,
    STATE_GLOBAL,
    UNSUSPENDABLE,
)
from caesura.errors import UnsupportedModule
from caesura.options import NO_PREEMPT, Options
from caesura.wasm import sections as sec
from caesura.wasm.definitions import GLOBAL_KIND
from caesura.wasm.encoded import ZERO, constant
from caesura.wasm.leb128 import encode_name, encode_unsigned
from caesura.wasm.module import Module
from caesura.wasm.names import GLOBAL_NAMES, NewNames
from caesura.wasm.sections import SectionEdits
from caesura.wasm.types import I32, encode_value_type

_BASE: Final = "__asyncify_base"

# In place of the other globals where there are none.
NO_BASE: Final = -1
NO_FLAG: Final = -1
NO_PAUSE_DATA: Final = -1


class Globals:
    """The indices of the globals; `base` is NO_BASE, `foreign` and `unsuspendable` are NO_FLAG and `pause_data` is
    NO_PAUSE_DATA where there is none, `count` how many were appended. `flags` are those of the flags that there are, by
    the names under which they are exported; the state, where functions can leave for other instances, is one of these.
    """

    def __init__(
        self,
        module: Module,
        options: Options,
        pointer: int,
        edits: SectionEdits,
        new_names: NewNames,
        flags: list[str],
    ) -> None:
        if options.import_globals:
            self.state = module.imported_globals - 2
            self.data = module.imported_globals - 1
        else:
            self.state = len(module.globals)
            self.data = self.state + 1
            edits.append(sec.GLOBAL, encode_value_type(I32) + b"\x01" + ZERO[I32] + b"\x0b")
            start = constant(pointer, CONTROL_BLOCK if options.thunks and options.in_secondary_memory else 0)
            edits.append(sec.GLOBAL, encode_value_type(pointer) + b"\x01" + start + b"\x0b")
        self.base = NO_BASE
        if options.leaves_out() and not options.import_globals and not options.export_globals:
            self.base = self.data + 1
            edits.append(sec.GLOBAL, encode_value_type(pointer) + b"\x01" + ZERO[pointer] + b"\x0b")
            new_names.add(GLOBAL_NAMES, self.base, _BASE)
        self.count = (0 if options.import_globals else 2) + (0 if self.base == NO_BASE else 1)
        exported: list[tuple[str, int]] = []
        for name in flags:
            if name == LEAVING_STATE:
                exported.append((name, self.state))
                continue
            exported.append((name, len(module.globals) + self.count))
            self.count += 1
            edits.append(sec.GLOBAL, encode_value_type(I32) + b"\x01" + ZERO[I32] + b"\x0b")
            new_names.add(GLOBAL_NAMES, exported[-1][1], name)
        self.foreign = dict(exported).get(FOREIGN_HANDLER, NO_FLAG)
        self.unsuspendable = dict(exported).get(UNSUSPENDABLE, NO_FLAG)
        self.pause_data = NO_PAUSE_DATA
        if options.preempt != NO_PREEMPT and not options.thunks:
            self.pause_data = len(module.globals) + self.count
            self.count += 1
            edits.append(sec.GLOBAL, encode_value_type(pointer) + b"\x01" + ZERO[pointer] + b"\x0b")
            exported.append((PAUSE_DATA, self.pause_data))
            new_names.add(GLOBAL_NAMES, self.pause_data, PAUSE_DATA)
        new_names.add(GLOBAL_NAMES, self.state, STATE_GLOBAL)
        new_names.add(GLOBAL_NAMES, self.data, DATA_GLOBAL)
        if options.export_globals:
            exported += [(STATE_GLOBAL, self.state), (DATA_GLOBAL, self.data)]
        for name, index in exported:
            if any(export.name == name for export in module.exports):
                raise UnsupportedModule(f"the module exports {name} already; it seems to be instrumented already")
            edits.append(sec.EXPORT, encode_name(name) + bytes([GLOBAL_KIND]) + encode_unsigned(index))
