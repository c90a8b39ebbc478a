"""The few functions of Wasmtime's C API that carry every call, without wasmtime-py's conversions.

A call through `wasmtime.Func` asks for the function's type each time, builds lists of type objects and
converts value by value: 39 us measured, against 1 us for the same call through
`wasmtime_func_call_unchecked`. The unchecked form is also the only one that passes v128 and keeps the bits of
floats. The price is that nobody checks the values: `caesura.host.values` does. Everything that is not on the
path of a call (engines, modules, linkers, traps) uses wasmtime-py's public classes.

One C callback serves all imports of all guests: Wasmtime hands it the number of the import, and the innermost
call of the running thread knows the rest. A callback per import was rejected: each would be a root that keeps
its guest alive for ever.
"""

from __future__ import annotations

import ctypes
import dis
import threading
from collections.abc import Callable
from ctypes import c_bool, c_char_p, c_size_t, c_ssize_t, c_uint32, c_uint64, c_void_p
from typing import Any, Final, Protocol, TypeAlias

import wasmtime
from wasmtime import _ffi as ffi
from wasmtime._exportable import AsExtern
from wasmtime._extern import wrap_extern
from wasmtime._trap import FrameList

from caesura.host.native_stack import NativeStack, stack_of_this_thread

_POINTER: Final = c_void_p

# What a memory is for wasmtime-py; instances in several threads can have the second kind in common.
Memory: TypeAlias = wasmtime.Memory | wasmtime.SharedMemory

# Python's instruction RESUME handles signals unless its argument is at least this.
_RESUME_AFTER_YIELD_FROM: Final = 2


def function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Return a C function of Wasmtime with plain pointers for all of its structures."""
    function = ffi.dll[name]
    function.restype = result
    function.argtypes = arguments
    called: Callable[..., Any] = function
    return called


IMPORT_CALLBACK: Final = ctypes.CFUNCTYPE(_POINTER, _POINTER, _POINTER, _POINTER, c_size_t)
FINALIZER: Final = ctypes.CFUNCTYPE(None, _POINTER)

call_function: Final = function(
    "wasmtime_func_call_unchecked", _POINTER, _POINTER, _POINTER, _POINTER, c_size_t, _POINTER
)
_memory_address: Final = function("wasmtime_memory_data", _POINTER, _POINTER, _POINTER)
_memory_size: Final = function("wasmtime_memory_data_size", c_size_t, _POINTER, _POINTER)
_shared_address: Final = function("wasmtime_sharedmemory_data", _POINTER, _POINTER)
_shared_size: Final = function("wasmtime_sharedmemory_data_size", c_size_t, _POINTER)
# wasmtime-py has no name for this setting; versions of Wasmtime that lack it do not ask for it.
_set_shared_memory: Final = (
    function("wasmtime_config_shared_memory_set", None, _POINTER, c_bool)
    if hasattr(ffi.dll, "wasmtime_config_shared_memory_set")
    else None
)
get_global: Final = function("wasmtime_global_get", None, _POINTER, _POINTER, _POINTER)
set_global: Final = function("wasmtime_global_set", _POINTER, _POINTER, _POINTER, _POINTER)
table_get: Final = function("wasmtime_table_get", c_bool, _POINTER, _POINTER, c_uint64, _POINTER)
table_set: Final = function("wasmtime_table_set", _POINTER, _POINTER, _POINTER, c_uint64, _POINTER)
table_size: Final = function("wasmtime_table_size", c_uint64, _POINTER, _POINTER)
table_grow: Final = function("wasmtime_table_grow", _POINTER, _POINTER, _POINTER, c_uint64, _POINTER, _POINTER)
externref_new: Final = function("wasmtime_externref_new", c_bool, _POINTER, _POINTER, FINALIZER, _POINTER)
externref_data: Final = function("wasmtime_externref_data", _POINTER, _POINTER, _POINTER)
externref_to_raw: Final = function("wasmtime_externref_to_raw", c_uint32, _POINTER, _POINTER)
externref_from_raw: Final = function("wasmtime_externref_from_raw", None, _POINTER, c_uint32, _POINTER)
collect_garbage: Final = function("wasmtime_context_gc", _POINTER, _POINTER)
externref_unroot: Final = function("wasmtime_externref_unroot", None, _POINTER)
function_from_raw: Final = function("wasmtime_func_from_raw", None, _POINTER, _POINTER, _POINTER)
function_to_raw: Final = function("wasmtime_func_to_raw", _POINTER, _POINTER, _POINTER)
# Copies memory; `ctypes.string_at` takes 31 bits of the size.
bytes_at: Final[Callable[[int, int], bytes]] = ctypes.PYFUNCTYPE(ctypes.py_object, c_void_p, c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)

# wasmtime-py's own copies the code before it lets other threads run.
deserialize: Final = function("wasmtime_module_deserialize", _POINTER, _POINTER, c_char_p, c_size_t, _POINTER)
_new_trap: Final = function("wasmtime_trap_new", _POINTER, c_char_p, c_size_t)
_define_function: Final = function(
    "wasmtime_linker_define_func_unchecked",
    _POINTER,
    _POINTER,
    c_char_p,
    c_size_t,
    c_char_p,
    c_size_t,
    _POINTER,
    IMPORT_CALLBACK,
    _POINTER,
    _POINTER,
)


class Running(Protocol):
    """What the callback needs of the innermost call of a thread."""

    error: BaseException | None
    position: int  # where the native stack stands in the import that is called
    depth: int  # how many calls of guests it is inside of

    def is_interrupted(self) -> bool:
        """Tell whether the call is to be stopped."""

    def call_import(self, number: int, values: int) -> None:
        """Run the host function of an import; its arguments lie at `values`, where its results go."""


class _Thread(threading.local):
    """The innermost call into a guest, for each thread."""

    call: Running | None = None
    stack: NativeStack | None = None


thread: Final = _Thread()


def native_stack() -> NativeStack:
    """Return the stack of the running thread."""
    found = thread.stack
    if found is None:
        found = thread.stack = stack_of_this_thread()
    return found


def _on_import(number: int | None, caller: int | None, values: int | None, count: int) -> int | None:
    """Wasmtime calls this for every import; no exception may leave it."""
    try:
        call = thread.call
        assert call is not None, "guest code runs only inside a call"
        call.position = values or 0
        call.call_import(number or 0, values or 0)
    except BaseException as error:
        if thread.call is not None:
            thread.call.error = error
        trap: int | None = _new_trap(b"host exception", 14)
        return trap
    return None


def begin_without_signals(function: Any) -> None:
    """Let a function begin without handling signals, so that what a handler raises is raised inside its `try`.

    Every function of Python's begins with an instruction that does, before its first line. An exception that leaves a
    callback is printed by ctypes, and what the callback returns to Wasmtime is then undefined: Ctrl-C while the guest
    computes would crash the process.
    """
    code = function.__code__
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RESUME":
            changed = bytearray(code.co_code)
            changed[instruction.offset + 1] = _RESUME_AFTER_YIELD_FROM
            function.__code__ = code.replace(co_code=bytes(changed))
            return


begin_without_signals(_on_import)
_import_callback: Final = IMPORT_CALLBACK(_on_import)


def address_of(pointer: Any) -> int:
    """Return the address that a ctypes pointer holds."""
    address = ctypes.cast(pointer, c_void_p).value
    assert address is not None, "Wasmtime handed out a null pointer"
    return address


def define_import(linker: wasmtime.Linker, number: int, module: str, name: str, kind: wasmtime.FuncType) -> None:
    """Connect an imported function to the callback, under its number among the module's function imports."""
    module_bytes = module.encode()
    name_bytes = name.encode()
    linker_address = address_of(linker.ptr())
    error = _define_function(
        linker_address,
        module_bytes,
        len(module_bytes),
        name_bytes,
        len(name_bytes),
        address_of(kind.ptr()),
        _import_callback,
        number,
        None,
    )
    if error:
        raise error_from(error)


def export_of(store: wasmtime.Store, instance: wasmtime.Instance, name: str) -> AsExtern:
    """Return an export of an instance; wasmtime-py would make objects for all of them."""
    raw = name.encode()
    item = ffi.wasmtime_extern_t()
    if not ffi.wasmtime_instance_export_get(
        store._context(), ctypes.byref(instance._instance), raw, len(raw), ctypes.byref(item)
    ):
        raise KeyError(name)
    found = wrap_extern(item)
    name_of_structure = _STRUCTURES.get(type(found))
    if name_of_structure is not None:
        structure = getattr(found, name_of_structure)
        setattr(found, name_of_structure, type(structure).from_buffer_copy(structure))
    return found


# Where wasmtime-py keeps Wasmtime's structure of what an instance exports: it is a part of a larger one, which goes
# where a copy is kept.
_STRUCTURES: Final[dict[type, str]] = {
    wasmtime.Func: "_func",
    wasmtime.Memory: "_memory",
    wasmtime.Global: "_global",
    wasmtime.Table: "_table",
}


def error_from(address: int) -> wasmtime.WasmtimeError:
    """Return the exception of a Wasmtime error; takes ownership."""
    return wasmtime.WasmtimeError._from_ptr(ctypes.cast(address, ctypes.POINTER(ffi.wasmtime_error_t)))


def trap_from(address: int) -> wasmtime.Trap:
    """Return the exception of a trap; takes ownership."""
    return wasmtime.Trap._from_ptr(ctypes.cast(address, ctypes.POINTER(ffi.wasm_trap_t)))


def frames_of(failure: wasmtime.Trap | wasmtime.WasmtimeError) -> list[wasmtime.Frame]:
    """Return the guest's frames at a failure, innermost first; wasmtime-py tells them of traps only."""
    if isinstance(failure, wasmtime.Trap):
        return failure.frames
    frames = FrameList(failure)
    ffi.wasmtime_error_wasm_trace(failure.ptr(), ctypes.byref(frames.vec))
    return [wasmtime.Frame._from_ptr(frames.vec.data[place], frames) for place in range(frames.vec.size)]


def profile(store: wasmtime.Store, module: wasmtime.Module) -> bytes:
    """Return a profile, in Firefox's format, with the stack of the code of a module that runs in a store."""
    name = ffi.wasm_byte_vec_t()
    ffi.wasm_byte_vec_new_empty(ctypes.byref(name))
    modules = (ffi.wasmtime_guestprofiler_modules * 1)()
    modules[0].name = ctypes.pointer(name)
    modules[0].mod = module.ptr()
    profiler = ffi.wasmtime_guestprofiler_new(store.engine.ptr(), ctypes.byref(name), 1, modules, 1)
    ffi.wasmtime_guestprofiler_sample(profiler, store.ptr(), 0)
    content = ffi.wasm_byte_vec_t()
    error = ffi.wasmtime_guestprofiler_finish(profiler, ctypes.byref(content))
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)
    try:
        return bytes_at(ctypes.cast(content.data, c_void_p).value or 0, content.size)
    finally:
        ffi.wasm_byte_vec_delete(ctypes.byref(content))


class GlobalCell:
    """A mutable integer global of an instance, read and set without asking for its type.

    `wasmtime.Global` asks, and that aborts the process where the type holds a reference to a concrete type.
    """

    def __init__(self, context: int, item: wasmtime.Global, *, wide: bool) -> None:
        self._context = context
        self._global = item
        self._address = ctypes.addressof(item._global)
        self._value = ffi.wasmtime_val_t(kind=ffi.WASMTIME_I64 if wide else ffi.WASMTIME_I32)
        self._value_address = ctypes.addressof(self._value)
        self.wide = wide

    def get(self) -> int:
        """Return the value, unsigned."""
        get_global(self._context, self._address, self._value_address)
        if self.wide:
            return int(self._value.of.i64) & 0xFFFF_FFFF_FFFF_FFFF
        return int(self._value.of.i32) & 0xFFFF_FFFF

    def set(self, value: int) -> None:
        """Set the value."""
        if self.wide:
            self._value.of.i64 = value
        else:
            self._value.of.i32 = value
        error = set_global(self._context, self._address, self._value_address)
        if error:
            raise error_from(error)


def allow_shared_memories(config: wasmtime.Config) -> None:
    """Let modules have memories that threads share."""
    if _set_shared_memory is not None:
        _set_shared_memory(ctypes.cast(config.ptr(), c_void_p), True)  # noqa: FBT003


class SharedMemory(wasmtime.SharedMemory):
    """A memory that threads share, which can be given to a linker: wasmtime-py's own cannot (50.0)."""

    @classmethod
    def of(cls, memory: wasmtime.SharedMemory) -> SharedMemory:
        """Return the same memory."""
        shared: SharedMemory = cls._from_ptr(ffi.wasmtime_sharedmemory_clone(memory.ptr()))  # type: ignore[assignment]
        return shared

    def _as_extern(self) -> ffi.wasmtime_extern_t:
        union = ffi.wasmtime_extern_union(sharedmemory=self.ptr())
        return ffi.wasmtime_extern_t(ffi.WASMTIME_EXTERN_SHAREDMEMORY, union)


class MemoryCell:
    """A memory of an instance: where it lies and how large it is, asked without asking for its type.

    `find_base(context, address)` and `find_size(context, address)` are what it asks, for those who ask often.
    """

    def __init__(self, context: int, memory: Memory) -> None:
        self.context = context
        self.memory = memory  # keeps the structure at the address alive
        self.find_base: Callable[[int, int], int | None] = _memory_address
        self.find_size: Callable[[int, int], int] = _memory_size
        if isinstance(memory, wasmtime.SharedMemory):
            self.address = ctypes.cast(memory.ptr(), c_void_p).value or 0
            self.find_base = lambda context, address: _shared_address(address)
            self.find_size = lambda context, address: int(_shared_size(address))
        else:
            self.address = ctypes.addressof(memory._memory)

    def base(self) -> int:
        """Return the host's address of the memory, good until the guest runs again."""
        return self.find_base(self.context, self.address) or 0

    def size(self) -> int:
        """Return the size in bytes."""
        return self.find_size(self.context, self.address)
