/**
 * The contract with instrumented modules: names and numbers of docs/abi.md.
 *
 * Rendered from src/caesura/abi.py by docs/render_abi.py.
 */

/**
 * What instrumented modules export.
 * @typedef {object} Exports
 * @property {any} asyncify_start_unwind
 * @property {any} asyncify_stop_unwind
 * @property {any} asyncify_start_rewind
 * @property {any} asyncify_stop_rewind
 * @property {any} asyncify_get_state
 * @property {any} asyncify_drop_references
 * @property {any} asyncify_data_pointer
 * @property {any} asyncify_set_data_pointer
 * @property {any} asyncify_stack_pointer
 * @property {any} asyncify_stack_low
 * @property {any} asyncify_stack_high
 * @property {any} asyncify_memory
 * @property {any} asyncify_start_function
 * @property {any} asyncify_foreign_handler
 * @property {any} asyncify_unsuspendable
 * @property {any} asyncify_leaving_state
 * @property {any} asyncify_fuel
 * @property {any} asyncify_pause_data
 * @property {any} asyncify_recorded
 * @property {any} asyncify_record_changed
 */

export const OWN_PREFIX = "asyncify_";
export const START_UNWIND = "asyncify_start_unwind";
export const STOP_UNWIND = "asyncify_stop_unwind";
export const START_REWIND = "asyncify_start_rewind";
export const STOP_REWIND = "asyncify_stop_rewind";
export const GET_STATE = "asyncify_get_state";
export const DROP_REFERENCES = "asyncify_drop_references";
export const RESULTS_PREFIX = "asyncify_results:";
export const ASYNCIFY_MODULE = "asyncify";
export const IMPORTED_START_UNWIND = "start_unwind";
export const IMPORTED_STOP_UNWIND = "stop_unwind";
export const IMPORTED_START_REWIND = "start_rewind";
export const IMPORTED_STOP_REWIND = "stop_rewind";
export const IMPORTED_GET_STATE = "get_state";
export const GLOBALS_MODULE = "env";
export const STATE_GLOBAL = "__asyncify_state";
export const DATA_GLOBAL = "__asyncify_data";
export const OVERFLOW_FUNCTION = "asyncify_stack_overflow";
export const ENTERED_FUNCTION = "asyncify_entered_while_unwinding";
export const LEFT_OUT_FUNCTION = "asyncify_suspended_where_left_out";
export const ASSERT_PREFIX = "asyncify_assert: suspended below ";
export const TAIL_CALLED_FUNCTION = "asyncify_suspended_in_foreign_tail_call";
export const FOREIGN_FUNCTION = "asyncify_suspended_in_foreign_handler";
export const NOT_INSTRUMENTED_FUNCTION = "asyncify_not_instrumented";
export const GUARDED_ENTRY_FUNCTION = "asyncify_guarded_entry";
export const GUARD_FUNCTION = "asyncify_guard";
export const RESUME_PREFIX = "asyncify_resume:";
export const COPY_PREFIX = "asyncify_uninstrumented:";
export const FUEL = "asyncify_fuel";
export const PAUSE_DATA = "asyncify_pause_data";
export const PAUSE_FUNCTION = "asyncify_pause";
export const PAUSE_REFUSED_FUNCTION = "asyncify_pause_refused";
export const PAUSE_NOT_NOW = 0;
export const PAUSE_REFUSED = -1;
export const FOREIGN_HANDLER = "asyncify_foreign_handler";
export const UNSUSPENDABLE = "asyncify_unsuspendable";
export const LEAVING_STATE = "asyncify_leaving_state";
export const RECORDED = "asyncify_recorded";
export const RECORD_CHANGED = "asyncify_record_changed";
export const ENTRY_PREFIX = "asyncify_entry:";
export const DATA_POINTER = "asyncify_data_pointer";
export const SET_DATA_POINTER = "asyncify_set_data_pointer";
export const STACK_POINTER = "asyncify_stack_pointer";
export const STACK_LOW = "asyncify_stack_low";
export const STACK_HIGH = "asyncify_stack_high";
export const ASYNCIFY_MEMORY = "asyncify_memory";
export const START_FUNCTION = "asyncify_start_function";
export const STATE_PREFIX = "asyncify_state:";
export const STATE_MEMORIES = "asyncify_state:memory:";
export const STATE_GLOBALS = "asyncify_state:global:";
export const STATE_TABLES = "asyncify_state:table:";
export const STATE_GET = "asyncify_state:get:";
export const STATE_GET_HIGH = "asyncify_state:get_high:";
export const STATE_SET = "asyncify_state:set:";
export const STATE_PROBE_DATA = "asyncify_state:probe_data:";
export const STATE_DROP_DATA = "asyncify_state:drop_data:";
export const STATE_PROBE_ELEMENTS = "asyncify_state:probe_elements:";
export const STATE_DROP_ELEMENTS = "asyncify_state:drop_elements:";
export const STATE_FUNCTIONS = "asyncify_state:functions";
export const STATE_LIST_FUNCTIONS = "asyncify_state:list_functions";
export const STATE_SIZE = "asyncify_state:size:";
export const STATE_FIND = "asyncify_state:find:";
export const STATE_CLEAR = "asyncify_state:clear:";
export const STATE_FETCH = "asyncify_state:fetch:";
export const STATE_STORE = "asyncify_state:store:";
export const HELD_GLOBAL = "global:";
export const HELD_TABLE = "table:";
export const STATE_EXCEPTION = "asyncify_state:exception:";
export const STATE_MAKE_EXCEPTION = "asyncify_state:make_exception:";
export const LINKER_STACK_POINTER = "__stack_pointer";
export const CONTROL_BLOCK = 16;
export const CURRENT_OFFSET = 0;
export const STATUS_OFFSET = 16;
export const STACK_POINTER_OFFSET = 24;
export const RESULTS_OFFSET = 32;
export const RESULT_SIZE = 16;
export const MOST_RESULTS = 16;
export const FRAMES_OFFSET = 288;
export const PAUSE_OFFSET = 288;
export const REQUEST_OFFSET = 296;
export const REQUEST_BYTE_OFFSET = 299;
export const PREEMPT_FRAMES_OFFSET = 304;
export const CONTRACT_VERSION = 1;
export const SECOND_VERSION = 2;
export const THIRD_VERSION = 3;
export const NEWEST_VERSION = 3;
export const CONTRACT_SECTION = "asyncify.contract";
export const UNVERSIONED_SECTION = "asyncify.facts";
export const FUNCTIONS_SECTION = "asyncify.functions";
export const RESULTS_SECTION = "asyncify.results";
export const EXPORTED_IMPORTS_SECTION = "asyncify.exported_imports";
export const STATE_SECTION = "asyncify.state";
export const FRAMES_SECTION = "asyncify.frames";
export const RECORD_SECTION = "asyncify.record";
export const GUARD_SECTION = "asyncify.guard";
export const STATE_VERSION = 1;
export const SECOND_STATE_VERSION = 2;
export const STATE_DIGEST = 32;
export const FRAMES_VERSION = 1;
export const HAS_FRAME = 1;
export const HAS_IDENTITY = 2;
export const HAS_DEAD_VALUES = 4;
export const LEAVES = 8;
export const CALLS_FUNCTION = 0;
export const CALLS_TABLE = 1;
export const CALLS_REFERENCE = 2;
export const SOURCE_UNKNOWN = 0;
export const SOURCE_CONSTANT = 1;
export const SOURCE_VALUE = 2;
export const ONLY_LIST = 1;
export const REMOVE_LIST = 2;
export const INDIRECT_IGNORED = 3;
export const ADDED_GUARD = 0;
export const ADDED_ENTRY = 1;
export const ADDED_SECOND_BODY = 2;
export const ADDED_COPY = 3;
export const ADDED_BITS = 2;
export const NUMBER_RESULT = 0;
export const REFERENCE_RESULT = 1;
export const MOST_RESULTS_TOLD = 127;
export const BUILTIN_RESULTS = 128;
export const BUILTIN_MODULES = "wasm:";
export const STATE_NORMAL = 0;
export const STATE_UNWINDING = 1;
export const STATE_REWINDING = 2;
export const STATE_OVERFLOWED = 3;
export const STATE_ELSEWHERE = 4;
export const STATUS_RUN = 0;
export const STATUS_SUSPEND = 1;
export const STATUS_RESUME = 2;
export const STATUS_RESUME_CALL = 3;
export const STATUS_PAUSED = 4;
export const STATUS_LOST = 5;
export const FACT_BY_LISTS = 1;
export const FACT_CALLS_REFERENCES = 2;
export const FACT_ADDED_MEMORY = 4;
export const FACT_UNCLEAR_STACK = 8;
export const FACT_FIXED_STACK = 16;
export const FACT_HIDDEN_STACK = 32;
export const FACT_LINKED = 64;
export const FACT_PAUSES_BY_REQUEST = 128;
export const FACT_PAUSES_BY_FUEL = 256;
export const FACT_STARTED_BY_ENGINE = 512;
