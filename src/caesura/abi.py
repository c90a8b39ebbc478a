"""The contract between instrumented modules and hosts: every name and number that both sides must agree on.

The transformation, the asyncio host and the command line take them from here. `docs/render_abi.py` makes the tables of
docs/abi.md and the JavaScript host's `abi.js` of them, and a test says when those are stale. That page tells how the
parts work together.

What is a module's own affair is not here: the layout of frames, names of functions that nobody looks up.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Self

# What is exported, or named, by the transformation begins so.
OWN_PREFIX: Final = "asyncify_"

# The plain ABI: exported functions.
START_UNWIND: Final = "asyncify_start_unwind"
STOP_UNWIND: Final = "asyncify_stop_unwind"
START_REWIND: Final = "asyncify_start_rewind"
STOP_REWIND: Final = "asyncify_stop_rewind"
GET_STATE: Final = "asyncify_get_state"

# Exported besides where frames hold references.
DROP_REFERENCES: Final = "asyncify_drop_references"

# How the exports begin that give what imports return while unwinding whose results cannot be null, by function index.
RESULTS_PREFIX: Final = "asyncify_results:"

# The same as imports of the guest's own runtime.
ASYNCIFY_MODULE: Final = "asyncify"
IMPORTED_START_UNWIND: Final = "start_unwind"
IMPORTED_STOP_UNWIND: Final = "stop_unwind"
IMPORTED_START_REWIND: Final = "start_rewind"
IMPORTED_STOP_REWIND: Final = "stop_rewind"
IMPORTED_GET_STATE: Final = "get_state"
RUNTIME_IMPORTS: Final = (
    IMPORTED_START_UNWIND,
    IMPORTED_STOP_UNWIND,
    IMPORTED_START_REWIND,
    IMPORTED_STOP_REWIND,
    IMPORTED_GET_STATE,
)

# The globals that modules share, imported from a module and exported under these names.
GLOBALS_MODULE: Final = "env"
STATE_GLOBAL: Final = "__asyncify_state"
DATA_GLOBAL: Final = "__asyncify_data"

# Functions that trap, by the names in the name section that say why.
OVERFLOW_FUNCTION: Final = "asyncify_stack_overflow"
ENTERED_FUNCTION: Final = "asyncify_entered_while_unwinding"
LEFT_OUT_FUNCTION: Final = "asyncify_suspended_where_left_out"
ASSERT_PREFIX: Final = "asyncify_assert: suspended below "
TAIL_CALLED_FUNCTION: Final = "asyncify_suspended_in_foreign_tail_call"
FOREIGN_FUNCTION: Final = "asyncify_suspended_in_foreign_handler"
NOT_INSTRUMENTED_FUNCTION: Final = "asyncify_not_instrumented"
GUARDED_ENTRY_FUNCTION: Final = "asyncify_guarded_entry"  # below which what is on the stack counts for itself

# Functions that stand on stacks, by their names in the name section: what calls go through that leave what lists leave
# out, and second bodies and copies that are not instrumented, behind which the function's own name follows.
GUARD_FUNCTION: Final = "asyncify_guard"
RESUME_PREFIX: Final = "asyncify_resume:"
COPY_PREFIX: Final = "asyncify_uninstrumented:"

# Pause points, with the option `preempt`: an exported global that counts, and one of the plain ABI that says where the
# data structure is for a suspension that the guest begins itself; the function that is called at pause points to begin
# or end it, and the one that traps where a host has forbidden it, by their names in the name section. In place of an
# address, a host can say that the guest is to go on, or to trap.
FUEL: Final = "asyncify_fuel"
PAUSE_DATA: Final = "asyncify_pause_data"
PAUSE_FUNCTION: Final = "asyncify_pause"
PAUSE_REFUSED_FUNCTION: Final = "asyncify_pause_refused"
PAUSE_NOT_NOW: Final = 0
PAUSE_REFUSED: Final = -1

# An exported global: whether a call in a handler of a foreign exception is on the stack, so that nothing can suspend.
FOREIGN_HANDLER: Final = "asyncify_foreign_handler"

# An exported global, where lists say which functions may suspend: not 0 while one that they leave out is on the stack
# of the present entry into the guest, so that nothing can suspend.
UNSUSPENDABLE: Final = "asyncify_unsuspendable"

# An exported global, where functions can leave for those of other instances by tail calls: the state, so that a host
# can say that others are rewound, and nothing of this instance.
LEAVING_STATE: Final = "asyncify_leaving_state"

# With the option `record`: an exported function that gives what was noted of a function, by its number, and a global
# that is 1 when one was noted for the first time.
RECORDED: Final = "asyncify_recorded"
RECORD_CHANGED: Final = "asyncify_record_changed"

# The thunk ABI: exports.
ENTRY_PREFIX: Final = "asyncify_entry:"
DATA_POINTER: Final = "asyncify_data_pointer"
SET_DATA_POINTER: Final = "asyncify_set_data_pointer"
STACK_POINTER: Final = "asyncify_stack_pointer"
STACK_LOW: Final = "asyncify_stack_low"
STACK_HIGH: Final = "asyncify_stack_high"
ASYNCIFY_MEMORY: Final = "asyncify_memory"
START_FUNCTION: Final = "asyncify_start_function"

# All exports of fixed names.
EXPORTS: Final = (
    START_UNWIND,
    STOP_UNWIND,
    START_REWIND,
    STOP_REWIND,
    GET_STATE,
    DROP_REFERENCES,
    DATA_POINTER,
    SET_DATA_POINTER,
    STACK_POINTER,
    STACK_LOW,
    STACK_HIGH,
    ASYNCIFY_MEMORY,
    START_FUNCTION,
    FOREIGN_HANDLER,
    UNSUSPENDABLE,
    LEAVING_STATE,
    FUEL,
    PAUSE_DATA,
    RECORDED,
    RECORD_CHANGED,
)

# What makes a module's state readable and settable (docs/abi.md): names of exports, most with an index behind them.
STATE_PREFIX: Final = "asyncify_state:"
STATE_MEMORIES: Final = "asyncify_state:memory:"
STATE_GLOBALS: Final = "asyncify_state:global:"
STATE_TABLES: Final = "asyncify_state:table:"
STATE_GET: Final = "asyncify_state:get:"
STATE_GET_HIGH: Final = "asyncify_state:get_high:"
STATE_SET: Final = "asyncify_state:set:"
STATE_PROBE_DATA: Final = "asyncify_state:probe_data:"
STATE_DROP_DATA: Final = "asyncify_state:drop_data:"
STATE_PROBE_ELEMENTS: Final = "asyncify_state:probe_elements:"
STATE_DROP_ELEMENTS: Final = "asyncify_state:drop_elements:"
STATE_FUNCTIONS: Final = "asyncify_state:functions"
STATE_LIST_FUNCTIONS: Final = "asyncify_state:list_functions"

# The same for globals and tables of reference types that hosts cannot be shown: behind these names stands which one it
# is, "global:I" or "table:I". A global is a table of one element there.
STATE_SIZE: Final = "asyncify_state:size:"
STATE_FIND: Final = "asyncify_state:find:"
STATE_CLEAR: Final = "asyncify_state:clear:"
STATE_FETCH: Final = "asyncify_state:fetch:"
STATE_STORE: Final = "asyncify_state:store:"
HELD_GLOBAL: Final = "global:"
HELD_TABLE: Final = "table:"

# An exception that was fetched, by the number of its tag: what it carries; and a new one, to be stored.
STATE_EXCEPTION: Final = "asyncify_state:exception:"
STATE_MAKE_EXCEPTION: Final = "asyncify_state:make_exception:"

# What linkers call the shadow stack pointer: hosts look for it among exports.
LINKER_STACK_POINTER: Final = "__stack_pointer"

# The control block: where it lies in a memory of its own, and the places in it, in bytes from its address. The plain
# ABI's data structure is its beginning: *current*, and *end* behind it.
CONTROL_BLOCK: Final = 16
CURRENT_OFFSET: Final = 0
STATUS_OFFSET: Final = 16
STACK_POINTER_OFFSET: Final = 24
RESULTS_OFFSET: Final = 32
RESULT_SIZE: Final = 16
MOST_RESULTS: Final = 16
FRAMES_OFFSET: Final = RESULTS_OFFSET + RESULT_SIZE * MOST_RESULTS

# What the control block has besides in modules with pause points: frames begin behind that there. Of the request, which
# has four bytes, a host writes the last one only.
PAUSE_OFFSET: Final = FRAMES_OFFSET
REQUEST_OFFSET: Final = 296
REQUEST_BYTE_OFFSET: Final = REQUEST_OFFSET + 3
PREEMPT_FRAMES_OFFSET: Final = 304

# The versions of all this: instrumented modules carry the lowest that describes them, and hosts refuse those that they
# do not know. docs/abi.md says what raises it: the second has start functions that hosts call, and `Fact.LINKED`, the
# third has pause points.
CONTRACT_VERSION: Final = 1
SECOND_VERSION: Final = 2
THIRD_VERSION: Final = 3
NEWEST_VERSION: Final = THIRD_VERSION

# Custom sections. Modules from before there were versions have another one in place of the first.
CONTRACT_SECTION: Final = "asyncify.contract"
UNVERSIONED_SECTION: Final = "asyncify.facts"
FUNCTIONS_SECTION: Final = "asyncify.functions"
RESULTS_SECTION: Final = "asyncify.results"
EXPORTED_IMPORTS_SECTION: Final = "asyncify.exported_imports"
STATE_SECTION: Final = "asyncify.state"
FRAMES_SECTION: Final = "asyncify.frames"
RECORD_SECTION: Final = "asyncify.record"
GUARD_SECTION: Final = "asyncify.guard"

# The versions of the section of the state, of which a module has the lowest that describes it: the second has
# references that are reached by functions. And how long the two digests in it are that follow.
STATE_VERSION: Final = 1
SECOND_STATE_VERSION: Final = 2
STATE_DIGEST: Final = 32

# The section of frame layouts: its version; what a function's record says by bits; what a call site calls; and where
# the index or the reference comes from that says which function that is, from `SOURCE_VALUE` up a value of the frame.
FRAMES_VERSION: Final = 1
HAS_FRAME: Final = 1
HAS_IDENTITY: Final = 2
HAS_DEAD_VALUES: Final = 4
LEAVES: Final = 8
CALLS_FUNCTION: Final = 0
CALLS_TABLE: Final = 1
CALLS_REFERENCE: Final = 2
SOURCE_UNKNOWN: Final = 0
SOURCE_CONSTANT: Final = 1
SOURCE_VALUE: Final = 2

# In the section of the guard: which kind of list was given, and what a function that was added is on a stack, in the
# lowest `ADDED_BITS` bits: one of the guard's, behind which nothing can be suspended; one below which what is on the
# stack counts for itself; the second body of another function; a copy of one that is not instrumented.
ONLY_LIST: Final = 1
REMOVE_LIST: Final = 2
INDIRECT_IGNORED: Final = 3
ADDED_GUARD: Final = 0
ADDED_ENTRY: Final = 1
ADDED_SECOND_BODY: Final = 2
ADDED_COPY: Final = 3
ADDED_BITS: Final = 2

# In the section of results: a result's kind, the most results that are told, and the flag of an import that an engine
# may provide itself, because its module's name begins so.
NUMBER_RESULT: Final = 0
REFERENCE_RESULT: Final = 1
MOST_RESULTS_TOLD: Final = 127
BUILTIN_RESULTS: Final = 128
BUILTIN_MODULES: Final = "wasm:"


class _Described(IntEnum):
    """Numbers with what docs/abi.md says of each; `writer` is who writes a status."""

    text: str
    writer: str

    def __new__(cls, value: int, text: str, writer: str = "") -> Self:
        """Make a member."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.text = text
        member.writer = writer
        return member


class State(_Described):
    """The values of the global with the state."""

    NORMAL = 0, "normal"
    UNWINDING = 1, "unwinding"
    REWINDING = 2, "rewinding"
    OVERFLOWED = 3, "an asyncify stack has overflowed, see below"
    ELSEWHERE = 4, "other instances are rewound, and nothing of this one was on the stack, see below"


class Status(_Described):
    """The values of the control block's status, by which host and guest tell each other what to do.

    Entry thunks rewind with any number from `RESUME` up.
    """

    RUN = 0, "nothing is going on", "both"
    SUSPEND = 1, "unwind when this import returns", "host"
    RESUME = 2, "rewind; the import's results are in the block", "host"
    RESUME_CALL = 3, "rewind, and call the import again", "host"
    PAUSED = 4, "the guest has begun to unwind at a pause point (version 3)", "guest"
    LOST = 5, "a suspension was asked for, but nothing was unwound", "guest"


class Fact(_Described):
    """The flags in the section of the contract."""

    BY_LISTS = (
        1,
        "lists said which functions may suspend (an only-list, a remove-list or `ignore_indirect`), so others may be "
        "on the stack when it happens, and a host must look before it lets a call unwind",
    )
    CALLS_REFERENCES = (
        2,
        "the module calls through references, or through tables, in which there may be what others have given it, so "
        "that functions of others may stand between its own",
    )
    ADDED_MEMORY = 4, "the memory is one that the transformation added, and all of it is the host's"
    UNCLEAR_STACK = (
        8,
        "there seems to be a shadow stack, but it is not clear which global is its pointer, so a host should not let "
        "another call suspend while one has not ended",
    )
    FIXED_STACK = (
        16,
        "the code compares the stack pointer with ends of the guest's own shadow stack, which are constants in it, "
        "so a host should not let a call run on another stack",
    )
    HIDDEN_STACK = (
        32,
        "there is a shadow stack, and its pointer is not exported as `__stack_pointer`, nor by thunks, so a host "
        "that has no other way to it (such as exported functions that read and set it) should not let another call "
        "suspend while one has not ended",
    )
    LINKED = (
        64,
        "import thunks leave a frame that says whether the host's function suspended the call, as in modules that "
        "share the globals, so that functions of other instances may stand between the module's own",
    )
    PAUSES_BY_REQUEST = (
        128,
        "there are pause points, which look at the request in the control block (version 3)",
    )
    PAUSES_BY_FUEL = (
        256,
        "there are pause points, which count in the global `asyncify_fuel` (version 3)",
    )
    STARTED_BY_ENGINE = (
        512,
        "the start function may come to pause points, and the engine calls it, where nothing can be suspended",
    )
