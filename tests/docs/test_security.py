"""Each sentence of the lists in docs/security.md has a test behind it."""

from __future__ import annotations

import re
from typing import Final

from tests.support.paths import REPOSITORY

# The first words of each sentence, and tests that show it.
TESTS: Final = {
    "It cannot reach memory": (
        "host/test_security.py::test_addresses_of_another_guest",
        "host/test_memory.py::test_memory_has_an_end",
        "host/test_wasi_bounds.py::test_what_points_nowhere_is_a_trap_before_anything_is_done",
        "host/test_security.py::test_more_bytes_than_a_c_int_counts",
    ),
    "Nothing that it exports is called": (
        "host/test_claims.py::test_an_entry_thunk_of_another_type",
        "host/test_claims.py::test_addresses_of_another_width",
        "host/test_claims.py::test_a_stack_pointer_that_is_none",
    ),
    "What it says of its stacks": (
        "host/test_claims.py::test_malloc_that_points_outside",
        "host/test_claims.py::test_current_that_points_outside",
        "host/test_claims.py::test_current_that_changes_while_the_call_is_suspended",
        "host/test_claims.py::test_an_asyncify_memory_without_room",
        "fuzz/test_fuzz.py::test_hostile_guests",
    ),
    "It cannot end the process": (
        "host/test_native_stack.py::test_a_guest_and_a_host_function",
        "host/test_native_stack.py::test_guests_that_call_each_other",
        "host/test_native_stack.py::test_threads",
        "host/test_native_stack.py::test_near_pythons_own_limit",
        "host/test_claims.py::test_a_state_change_that_fails",
        "fuzz/test_fuzz.py::test_hostile_guests",
    ),
    "It does not see addresses of the host": (
        "host/test_claims.py::test_an_entry_thunk_of_another_type",
        "host/test_suspended_results.py::test_functions_of_another_guest_are_refused",
        "host/test_references.py::test_a_guest_keeps_objects_apart",
        "fuzz/test_fuzz.py::test_hostile_guests",
    ),
    "It sees no file": (
        "host/test_security.py::test_the_world_is_what_wasi_names",
        "host/test_wasi.py::test_read_only_folders",
    ),
    "A module that is malformed": (
        "instrument/test_bad_input.py::test_every_byte_changed",
        "wasm/test_malformed.py::test_one_byte_changed",
    ),
    "It cannot flood a log": (
        "host/test_security.py::test_names_of_a_modules_functions_flood_no_log_and_forge_no_lines",
    ),
    "It cannot take all memory while": (
        "host/test_workers.py::test_a_module_that_takes_too_much_memory",
        "host/test_workers.py::test_how_much_memory_a_process_may_take",
    ),
    "It cannot get another guest stopped": (
        "host/test_limits.py::test_an_interruption_ends_what_had_begun_and_nothing_else",
    ),
    "With a [time slice](slices.md) it cannot keep others": (
        "host/slices/test_hostile.py::test_next_to_well_behaved_guests",
        "host/slices/test_policy.py::test_shares_are_in_proportion_to_weights",
        "host/slices/test_policy.py::test_higher_priorities_come_first_and_nobody_starves",
        "host/slices/test_policy.py::test_timers_come_between_two_turns",
        "host/slices/test_policy.py::test_sockets_are_served_between_two_turns",
        "host/slices/test_who_waits_early.py::test_who_waits_early_takes_turns",
    ),
    "It cannot take back": ("host/slices/test_hostile.py::test_it_overwrites_all_of_its_memory",),
    "It can compute for ever": (
        "host/test_wasi.py::test_a_program_that_computes_can_be_interrupted",
        "host/slices/test_slices.py::test_a_start_function_that_computes",
        "host/slices/test_beginning.py::test_what_never_ends_is_no_guest",
    ),
    "With a [time slice](slices.md) it keeps": (
        "host/slices/test_hostile.py::test_each_is_suspended_when_its_budget_is_used_up",
        "host/slices/test_slices.py::test_others_run_while_a_guest_computes",
        "host/slices/test_slices.py::test_cancelling_and_closing_what_is_paused",
        "instrument/test_pausing.py::test_what_spins_is_always_stopped_soon",
        "instrument/test_pausing.py::test_what_comes_back_from_far_is_always_stopped_soon",
        "instrument/test_pausing.py::test_no_two_long_instructions_without_a_look",
        "instrument/test_counting.py::test_hostile_shapes_count_for_what_they_run",
    ),
    "A guest that was loaded with `interruptible": (
        "host/test_security.py::test_a_guest_that_never_begins",
        "host/test_wasi.py::test_a_program_that_computes_can_be_interrupted",
    ),
    "It can go on for 50 ms": (
        "host/slices/test_below_what_cannot_wait.py::test_all_that_a_host_function_calls_so_has_one_time",
        "host/slices/test_slices.py::test_what_cannot_be_suspended_is_stopped",
        "host/slices/test_slices.py::test_what_is_nested_has_no_time_of_its_own",
        "host/slices/test_hostile.py::test_what_computes_above_a_plain_function_is_stopped",
    ),
    "These are processor time; if host functions wait": (
        "host/slices/test_waiting_host_functions.py::test_there_is_an_end_to_waiting",
        "host/slices/test_waiting_host_functions.py::test_who_catches_the_trap_has_no_other_second",
    ),
    "One instruction can take": (
        "host/slices/test_hostile.py::test_one_instruction_runs_to_its_end",
        "instrument/test_pausing.py::test_no_two_long_instructions_without_a_look",
    ),
    "`memory_limit` [bounds both]": ("host/test_limits.py::test_a_limit_bounds_the_objects_of_the_garbage_collector",),
    "It can have itself called": ("host/slices/test_hostile.py::test_thousands_of_pending_calls",),
    "`caesura.limit_guests`": ("host/test_limits.py::test_guests_of_a_process_have_a_limit",),
    "It can take all memory": ("host/test_security.py::test_without_a_limit_a_memory_grows_to_four_gibibytes",),
    "With the limit": (
        "host/test_security.py::test_without_a_limit_a_memory_grows_to_four_gibibytes",
        "host/test_security.py::test_objects_of_the_guests_own_count_as_a_memory",
        "host/test_limits.py::test_limits_of_memory_and_tables",
        "host/test_limits.py::test_a_limit_bounds_the_whole_guest",
        "host/test_limits.py::test_the_memory_of_the_asyncify_stack_is_none_of_the_guests_own",
    ),
    "It can let its tables grow": ("host/test_limits.py::test_limits_of_memory_and_tables",),
    "With the limit, it has one table": ("host/test_limits.py::test_a_limit_bounds_the_whole_guest",),
    "It can let each of its suspended calls": (
        "host/test_calls.py::test_deep_stacks_grow_their_memory",
        "host/test_security.py::test_suspended_calls_take_no_more_than_the_limit",
    ),
    "References in frames": (
        "host/test_held_references.py::test_limits_on_tables_are_on_each_and_do_not_count_those_of_frames",
    ),
    "It can hold objects": ("host/test_references.py::test_objects_that_a_guest_lets_go_do_not_pile_up_in_a_call",),
    "What it has let go": ("host/test_references.py::test_objects_that_a_guest_lets_go_do_not_pile_up_in_a_call",),
    "It can recurse": (
        "host/test_native_stack.py::test_a_guest_and_a_host_function",
        "host/test_native_stack.py::test_how_much_guest_code_may_take_is_an_option",
    ),
    "It can let a call wait for ever": ("host/test_security.py::test_a_call_that_waits_for_ever",),
    "`asyncio.timeout` around the call": (
        "host/test_security.py::test_a_call_that_waits_for_ever",
        "host/test_cancellation.py::test_a_timeout_ends_a_call",
    ),
    "It can end its program": ("host/test_wasi.py::test_programs_end_with_any_code",),
    "It can read the process's own": (
        "host/test_security.py::test_standard_streams_that_wasi_does_not_name_are_the_processs_own",
    ),
    "It can make everything wrong": ("host/test_claims.py::test_a_status_that_the_guest_writes",),
    "It can hand absurd arguments": ("host/test_security.py::test_addresses_of_another_guest",),
    "Those that take addresses": ("host/test_security.py::test_addresses_of_another_guest",),
    "It can call host functions": ("host/test_calls.py::test_host_functions_call_the_guest_again",),
    "What its bytes say of sizes": (
        "snapshots/test_hostile.py::test_bombs_are_not_unpacked",
        "host/test_forged_snapshots.py::test_what_contradicts_the_module_is_refused",
        "fuzz/test_fuzz.py::test_hostile_guests",
    ),
    "What the frames of its calls say": (
        "host/test_forged_snapshots.py::test_frames_that_say_anything_reach_the_guest_only",
        "fuzz/test_fuzz.py::test_hostile_guests",
    ),
    "It can take as much memory": ("host/test_forged_snapshots.py::test_limits_are_for_restored_guests_too",),
    "The module that it brings along": (
        "host/test_command_saving.py::test_a_program_from_standard_input_brings_its_module_along",
        "host/test_command_saving.py::test_another_module_is_refused",
    ),
    "Only a regular file": ("host/test_forged_snapshots.py::test_a_device_is_no_module",),
    "A module that comes along": (
        "host/test_forged_snapshots.py::test_a_module_that_comes_along_is_refused_where_instrumented_ones_are",
    ),
    "Files that it says were open": ("host/test_saved_files.py::test_folders_must_be_those_that_the_guest_had",),
    "A path that leads out": ("host/test_saved_files.py::test_a_forged_state_reaches_nothing_else",),
    "Nothing is created": (
        "host/test_saved_files.py::test_a_forged_state_makes_and_cuts_nothing",
        "host/test_saved_files.py::test_states_that_say_anything_are_refused_or_put_back_as_they_say",
    ),
    "A call that it says is waiting": (
        "host/test_saved_time.py::test_a_program_that_waits_for_input_is_asked_anew",
        "host/test_forged_snapshots.py::test_what_contradicts_the_module_is_refused",
    ),
    "The folders that a state names": ("host/test_command_saving.py::test_folders_lie_elsewhere",),
    "What `load_object` gets": (
        "host/test_snapshot_references.py::test_tables_segments_and_references",
        "host/test_forged_snapshots.py::test_what_load_object_gets_is_the_states",
    ),
}


def sentences() -> list[str]:
    """Return the sentences of the lists, each on one line."""
    text = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    items = re.findall(r"^- (.*?)(?=^- |^$)", text, re.MULTILINE | re.DOTALL)
    return [part for item in items for part in re.split(r"(?<=\.) (?=[A-Z`])", " ".join(item.split()))]


def test_every_sentence_has_a_test() -> None:
    said = sentences()
    assert len(said) == len(TESTS)
    for sentence, beginning in zip(said, TESTS, strict=True):
        assert sentence.startswith(beginning), sentence


def test_these_tests_exist() -> None:
    for names in TESTS.values():
        for name in names:
            file, _, function = name.partition("::")
            source = (REPOSITORY / "tests" / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {function}\(", source, re.MULTILINE), name
