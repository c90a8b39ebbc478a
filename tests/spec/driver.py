"""Makes, for the actions of a script on one instance, a module that carries them out.

For each action there is an exported function, without parameters: it calls the instance's export with the constants of
the script, and as long as that comes back because the guest is unwinding, it lets the guest rewind; then it stores the
results in a memory, 16 bytes each. So vectors, NaNs and references of all types are seen by any engine in the same way.
The types of the instance's module are copied to the front: function types are nominal, and arguments and results may be
of defined types.

What all drivers share is one module of text, `RUNTIME`: the state that all instances have in common, the function that
suspends (at every one of the first points of an action, then more and more seldom, so that long loops and deep
recursion end), and functions that tell what a reference is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.wasm import sections as sec
from caesura.wasm.definitions import FUNCTION_KIND, FUNCTION_TYPE, GLOBAL_KIND, MEMORY_KIND, TABLE_KIND
from caesura.wasm.encoded import BR, CALL, CONST_I32, END, GLOBAL_GET, I32_EQZ, IF_EMPTY, LOCAL_GET, LOCAL_SET, RETURN
from caesura.wasm.leb128 import encode_name, encode_signed, encode_unsigned, encode_vector, read_u32
from caesura.wasm.module import Module
from caesura.wasm.sections import MAGIC, encode_section
from caesura.wasm.types import (
    ABSTRACT,
    EXN,
    EXTERN,
    F32,
    F64,
    FUNC,
    I32,
    I64,
    NOFUNC,
    V128,
    encode_heap_type,
    encode_value_type,
    heap_of,
    is_abstract,
    is_nullable,
    is_reference,
)
from tests.spec.values import Constant

# Of a reference: what it is, in the lower half of its 16 bytes; a number in the upper half of the first eight.
NULL: Final = 1
I31: Final = 2
STRUCT: Final = 4
ARRAY: Final = 8
HOST: Final = 16
FUNCTION: Final = 32
EXCEPTION: Final = 64

HOSTS: Final = 256
SLOT: Final = 16

# The memory for frames: its size in pages, where the structure {current, end} lies in it, and where frames begin.
PAGES: Final = 256
HEADER: Final = 16
FIRST_FRAME: Final = 32

RUNTIME: Final = f"""(module
  (import "host" "identify" (func $identify (param externref) (result i32)))
  (global $state (export "state") (mut i32) (i32.const 0))
  (global (export "data") (mut i32) (i32.const {HEADER}))
  (global $points (mut i32) (i32.const 0))
  (global $next (export "next") (mut i32) (i32.const -1))
  (global $suspensions (export "suspensions") (mut i64) (i64.const 0))
  (memory (export "record") 1)
  (memory $frames (export "frames") {PAGES})
  (table (export "hosts") {HOSTS} externref)
  (func (export "stop")
    (global.set $next (i32.const -1)))
  (func (export "reset")
    (global.set $state (i32.const 0))
    (global.set $next (i32.const -1))
    (i32.store $frames (i32.const {HEADER}) (i32.const {FIRST_FRAME}))
    (i32.store $frames (i32.const {HEADER + 4}) (i32.const {PAGES << 16})))
  (func (export "start")
    (global.set $points (i32.const 0))
    (global.set $next (i32.const 0)))
  (func (export "point")
    (if (i32.eq (global.get $state) (i32.const 2))
      (then (global.set $state (i32.const 0)) (return)))
    (if (i32.eqz (i32.lt_u (global.get $points) (global.get $next)))
      (then
        (global.set $next (i32.add (i32.add (global.get $next) (i32.const 1))
                                   (i32.div_u (global.get $next) (i32.const 32))))
        (global.set $suspensions (i64.add (global.get $suspensions) (i64.const 1)))
        (global.set $state (i32.const 1))))
    (global.set $points (i32.add (global.get $points) (i32.const 1))))
  (func (export "any") (param anyref) (result i64)
    (if (ref.is_null (local.get 0)) (then (return (i64.const {NULL}))))
    (if (ref.test (ref i31) (local.get 0))
      (then
        (return (i64.or (i64.const {I31})
          (i64.shl (i64.extend_i32_u (i31.get_u (ref.cast (ref i31) (local.get 0)))) (i64.const 32))))))
    (if (ref.test (ref struct) (local.get 0)) (then (return (i64.const {STRUCT}))))
    (if (ref.test (ref array) (local.get 0)) (then (return (i64.const {ARRAY}))))
    (i64.or (i64.const {HOST})
      (i64.shl (i64.extend_i32_u (call $identify (extern.convert_any (local.get 0)))) (i64.const 32))))
  (func (export "func") (param funcref) (result i64)
    (select (i64.const {NULL}) (i64.const {FUNCTION}) (ref.is_null (local.get 0))))
  (func (export "exn") (param exnref) (result i64)
    (select (i64.const {NULL}) (i64.const {EXCEPTION}) (ref.is_null (local.get 0)))))
"""

# What a driver imports, by its index: the helpers of the runtime, with the types of their parameters and results.
_HELPERS: Final = (
    ("start", b"\x60\x00\x00"),
    ("any", b"\x60\x01\x6e\x01\x7e"),
    ("func", b"\x60\x01\x70\x01\x7e"),
    ("exn", b"\x60\x01\x69\x01\x7e"),
    ("stop", b"\x60\x00\x00"),
)
_START, _ANY, _FUNC, _EXN, _STOP = range(5)
_STATE: Final = 0

# Arguments that no guest expects: when an export is called to be rewound, they do not count.
_GARBAGE: Final = {
    I32: CONST_I32 + encode_signed(-0x21524111),
    I64: b"\x42" + encode_signed(-0x2152411021524111),
    F32: b"\x43\x00\x00\x80\xff",
    F64: b"\x44\x00\x00\x00\x00\x00\x00\xf0\xff",
    V128: b"\xfd\x0c" + bytes(range(0xA0, 0xB0)),
}
_STORES: Final = {I32: b"\x36\x00", I64: b"\x37\x00", F32: b"\x38\x00", F64: b"\x39\x00", V128: b"\xfd\x0b\x00"}


@dataclass(frozen=True)
class Action:
    """A call of an export (`arguments`), or the look at a global (None)."""

    export: str
    arguments: tuple[Constant, ...] | None


def is_possible(module: Module, action: Action) -> bool:
    """Tell whether the module has the export and takes the arguments."""
    for export in module.exports:
        if export.name == action.export:
            if action.arguments is None:
                return export.kind == GLOBAL_KIND
            if export.kind != FUNCTION_KIND:
                return False
            definition = module.types[module.function_types[export.index]]
            return len(definition.params) == len(action.arguments)
    return False


def driver(module: Module, actions: list[Action]) -> bytes:
    """Return a module that imports exports of an instance from "guest", and exports a function for each action."""
    return _Driver(module).write(actions)


class _Driver:
    def __init__(self, module: Module) -> None:
        self._module = module
        self._exports = {export.name: export for export in module.exports}
        self._types: list[bytes] = [definition for _, definition in _HELPERS] + [b"\x60\x00\x00"]
        self._first_type = len(module.types)
        self._function_imports: dict[str, int] = {}
        self._global_imports: dict[str, int] = {}

    def _type(self, encoded: bytes) -> int:
        if encoded not in self._types:
            self._types.append(encoded)
        return self._first_type + self._types.index(encoded)

    def write(self, actions: list[Action]) -> bytes:
        module = self._module
        imports = [
            _import("runtime", name, FUNCTION_KIND, encode_unsigned(self._type(definition)))
            for name, definition in _HELPERS
        ]
        imports.append(_import("runtime", "state", GLOBAL_KIND, b"\x7f\x01"))
        imports.append(_import("runtime", "record", MEMORY_KIND, b"\x00\x01"))
        imports.append(_import("runtime", "hosts", TABLE_KIND, b"\x6f\x00" + encode_unsigned(HOSTS)))
        for action in actions:
            export = self._exports[action.export]
            if action.arguments is None:
                if action.export not in self._global_imports:
                    self._global_imports[action.export] = 1 + len(self._global_imports)
                    entry = module.globals[export.index]
                    content = encode_value_type(entry.type) + bytes([entry.mutable])
                    imports.append(_import("guest", action.export, GLOBAL_KIND, content))
            elif action.export not in self._function_imports:
                self._function_imports[action.export] = len(_HELPERS) + len(self._function_imports)
                content = encode_unsigned(module.function_types[export.index])
                imports.append(_import("guest", action.export, FUNCTION_KIND, content))
        bodies = [self._body(action) for action in actions]
        first = len(_HELPERS) + len(self._function_imports)
        exports = [
            encode_name(str(place)) + bytes([FUNCTION_KIND]) + encode_unsigned(first + place)
            for place in range(len(actions))
        ]
        nothing = encode_unsigned(self._type(b"\x60\x00\x00"))
        return (
            MAGIC
            + b"\x01\x00\x00\x00"
            + self._type_section()
            + encode_section(sec.IMPORT, encode_vector(imports))
            + encode_section(sec.FUNCTION, encode_vector([nothing] * len(actions)))
            + encode_section(sec.EXPORT, encode_vector(exports))
            + encode_section(sec.CODE, encode_vector([encode_unsigned(len(body)) + body for body in bodies]))
        )

    def _type_section(self) -> bytes:
        section = self._module.section(sec.TYPE)
        groups = len(self._module.recursion_groups)
        content = b""
        if section is not None:
            content = self._module.data[read_u32(self._module.data, section.payload)[1] : section.end]
        return encode_section(sec.TYPE, encode_unsigned(groups + len(self._types)) + content + b"".join(self._types))

    def _body(self, action: Action) -> bytes:
        export = self._exports[action.export]
        if action.arguments is None:
            entry = self._module.globals[export.index]
            code = GLOBAL_GET + encode_unsigned(self._global_imports[action.export]) + LOCAL_SET + b"\x00"
            return _locals((entry.type,)) + code + self._stores((entry.type,)) + END
        definition = self._module.types[self._module.function_types[export.index]]
        results = definition.results
        call = CALL + encode_unsigned(self._function_imports[action.export])
        arguments = [
            argument.code(value_type) for argument, value_type in zip(action.arguments, definition.params, strict=True)
        ]
        garbage = [
            _garbage(argument, value_type) for argument, value_type in zip(arguments, definition.params, strict=True)
        ]
        loop_type = self._type(b"\x60" + encode_vector([encode_value_type(one) for one in results]) + b"\x00")
        return b"".join(
            [
                _locals(results),
                CALL + bytes([_START]),
                *arguments,
                call,
                b"\x03" + encode_signed(loop_type),
                *[LOCAL_SET + encode_unsigned(place) for place in range(len(results) - 1, -1, -1)],
                GLOBAL_GET + bytes([_STATE]) + I32_EQZ + IF_EMPTY,
                self._stores(results),
                CALL + bytes([_STOP]) + RETURN + END,
                CONST_I32 + b"\x02\x24" + bytes([_STATE]),
                *garbage,
                call,
                BR + b"\x00" + END,
                b"\x00" + END,
            ]
        )

    def _stores(self, types: tuple[int, ...]) -> bytes:
        """Return code that stores the values of the locals."""
        out = []
        for place, value_type in enumerate(types):
            out.append(CONST_I32 + encode_signed(SLOT * place) + LOCAL_GET + encode_unsigned(place))
            if is_reference(value_type):
                out.append(self._tell(value_type) + _STORES[I64] + b"\x00")
            else:
                out.append(_STORES[value_type] + b"\x00")
        return b"".join(out)

    def _tell(self, value_type: int) -> bytes:
        """Return code that replaces a reference by a number that says what it is."""
        heap = heap_of(value_type)
        if not is_abstract(heap):
            is_function = self._module.types[heap].kind == FUNCTION_TYPE
            return CALL + bytes([_FUNC if is_function else _ANY])
        if heap in (FUNC, NOFUNC):
            return CALL + bytes([_FUNC])
        if heap in (EXTERN, ABSTRACT + 0x72):
            return b"\xfb\x1a" + CALL + bytes([_ANY])  # any.convert_extern
        return CALL + bytes([_EXN if heap in (EXN, ABSTRACT + 0x74) else _ANY])


def _locals(types: tuple[int, ...]) -> bytes:
    return encode_vector([b"\x01" + encode_value_type(one) for one in types])


def _import(module: str, name: str, kind: int, content: bytes) -> bytes:
    return encode_name(module) + encode_name(name) + bytes([kind]) + content


def _garbage(argument: bytes, value_type: int) -> bytes:
    if not is_reference(value_type):
        return _GARBAGE[value_type]
    return b"\xd0" + encode_heap_type(heap_of(value_type)) if is_nullable(value_type) else argument
