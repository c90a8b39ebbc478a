"""What can be asked of the transformation: one frozen dataclass is the truth.

The library takes an `Options`; the command line (`caesura.cli.options`) and the table in `docs/options.md`
(`render_table`) are derived from its fields, so that neither can drift. Every field carries metadata: its kind, the
name of Binaryen's pass argument with the same meaning (or of the pass, if it is one of its own), and a help text.
Meaning follows Binaryen's Asyncify pass throughout, including that an empty list is one that was not given: an empty
import list means that every import may suspend, and "no import suspends" is `ignore_imports`. Telling `None` from an
empty tuple was rejected: the pass cannot, and two kinds of empty invite mistakes that only show when a guest fails to
resume.

This file is not compiled: what people read in `help` and in editors, signatures and docstrings, does not survive that.
The kinds of values are therefore checked here, as compiled code would.
"""

from __future__ import annotations

import hashlib
from collections.abc import ItemsView, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from caesura.argument_kinds import shown
from caesura.errors import UsageError
from caesura.records import Record

FLAG: Final = "flag"
LIST: Final = "list"
TEXT: Final = "text"
NUMBER: Final = "number"
CHOICE: Final = "choice"
TIMES: Final = "times"

OPTIMIZE_CHOICES: Final = ("size", "balanced", "speed")

# What two_bodies can be but a list.
WORDS_FOR_TWO_BODIES: Final = ("auto", "never", "all")

# What the guest looks at where it pauses by itself: nothing, since it does not; a request of the host; a count.
NO_PREEMPT: Final = "none"
PREEMPT_FLAG: Final = "flag"
PREEMPT_FUEL: Final = "fuel"
PREEMPT_CHOICES: Final = (NO_PREEMPT, PREEMPT_FLAG, PREEMPT_FUEL)

# What stands for a value of each kind in help texts and documentation; a choice shows its words.
_PLACEHOLDERS: Final = {FLAG: "", LIST: "LIST", TEXT: "NAME", NUMBER: "N", TIMES: "FILE"}

# The type of a value of each kind, but for lists.
_TYPES: Final = {FLAG: bool, TEXT: str, NUMBER: int, CHOICE: str, TIMES: tuple}

_MAXIMUM_PAGES: Final = 65536

# The most fuel that a host can give at once.
MOST_FUEL: Final = 1 << 62

# Up to how many pages the secondary memory grows with thunks where nobody says.
DEFAULT_SECONDARY_MAXIMUM: Final = 1024

# The most time that a profile can give a function, in whatever unit: sums of such are numbers still.
_MOST_TIME: Final = 1e300

# What a flag and a list are where they are not given.
_DEFAULTS: Final[dict[str, Any]] = {FLAG: False, LIST: (), TIMES: ()}


def _option(kind: str, help_text: str, *, default: Any = None, pass_argument: str = "", **more: Any) -> Any:
    """Return a field: of which kind its values are, what it does, how Binaryen's pass argument is called."""
    metadata = {"kind": kind, "pass_argument": pass_argument, "help": help_text, **more}
    return field(default=_DEFAULTS.get(kind, default), metadata=metadata)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Options(Record):
    """How to instrument a module.

    Every default is Binaryen's: all imports may suspend, and all calls through references, or through tables that
    others than the module can change. Lists are sequences of names, and are kept as tuples. Raises TypeError for a
    value of the wrong kind, with the name of its field, and UsageError for options that exclude each other, and for
    what is wrong in a profile.
    """

    imports: Sequence[str] = _option(
        LIST,
        "the imports that may suspend, as module.name; all others then may not (default: every import may)",
        pass_argument="asyncify-imports",
    )
    ignore_imports: bool = _option(
        FLAG,
        "assume that no import may suspend, but for those on the import list",
        pass_argument="asyncify-ignore-imports",
    )
    ignore_indirect: bool = _option(
        FLAG,
        "assume that nothing suspends inside a call through a table or a reference, but for such calls in "
        "functions on the add-list or the only-list",
        pass_argument="asyncify-ignore-indirect",
    )
    remove_list: Sequence[str] = _option(
        LIST,
        "functions that are never on the stack at a suspension, whatever the analysis says",
        pass_argument="asyncify-removelist",
    )
    add_list: Sequence[str] = _option(
        LIST,
        "functions to instrument even where the analysis sees no need",
        pass_argument="asyncify-addlist",
    )
    propagate_addlist: bool = _option(
        FLAG,
        "instrument the callers of functions on the add-list too, and theirs, and so on",
        pass_argument="asyncify-propagate-addlist",
    )
    only_list: Sequence[str] = _option(
        LIST,
        "instrument these functions and no others; excludes the add-list and the remove-list",
        pass_argument="asyncify-onlylist",
    )
    no_guard: bool = _option(
        FLAG,
        "where lists leave out functions (or ignore_indirect calls), do not look before a suspension whether one of "
        "these is on the stack (default: such a suspension is refused before anything has changed)",
        pass_argument="asyncify-no-guard",
    )
    asserts: bool = _option(
        FLAG,
        "add checks that trap where a function that is not instrumented sees a suspension",
        pass_argument="asyncify-asserts",
    )
    ignore_unwind_from_catch: bool = _option(
        FLAG,
        "take it that nothing suspends inside an old-form catch body (unsafe: a suspension there goes wrong)",
        pass_argument="asyncify-ignore-unwind-from-catch",
    )
    translate_to_exnref: bool = _option(
        FLAG,
        "first write exceptions of the old form (try, catch, delegate, rethrow) in the new one (try_table, throw_ref), "
        "for engines that know no other; then handlers of foreign exceptions can suspend, too",
        pass_name="translate-to-exnref",
    )
    memory: str = _option(
        TEXT,
        "the exported name of the memory that holds the asyncify stack, in a module with several memories",
        default="memory",
        pass_argument="asyncify-memory",
    )
    in_secondary_memory: bool = _option(
        FLAG,
        "keep the asyncify stack in a new memory of its own",
        pass_argument="asyncify-in-secondary-memory",
    )
    secondary_memory_size: int = _option(
        NUMBER,
        "the size of that new memory in pages of 64 KiB",
        default=1,
        pass_argument="asyncify-secondary-memory-size",
    )
    secondary_memory_maximum: int = _option(
        NUMBER,
        "up to how many pages that memory may grow (0: not at all, but with thunks 1024); only thunks grow it",
        default=0,
    )
    two_bodies: str | Sequence[str] = _option(
        TEXT,
        "which functions get a second body that only resumes, so that the first runs at nearly full speed: auto "
        "(as optimize says), never, all, or a list of names",
        default="auto",
        placeholder="LIST",
    )
    profile: Mapping[str, float] | Sequence[tuple[str, float]] = _option(
        TIMES,
        "how much time each function takes, by its name: second bodies go to those that take most, not to those that "
        "look so (for as many bytes as optimize says). In the library what caesura.read_profile returns; on the "
        "command line a CPU profile of V8, the text of `perf script`, or folded stacks, of a run of the module as it "
        "is; can be given more than once",
    )
    optimize: str = _option(
        CHOICE,
        "size (no second bodies), balanced (second bodies for interpreters and for functions that look busy, for "
        "about a quarter more bytes), or speed (for these, whatever they take, and every function with many call "
        "sites, or with call sites in loops unless it is large)",
        default="balanced",
        choices=OPTIMIZE_CHOICES,
    )
    no_multivalue: bool = _option(
        FLAG,
        "add no functions with several results, for tools that lack the multi-value feature; up to 5 bytes more "
        "for each saved value",
    )
    thunks: bool = _option(
        FLAG,
        "add the thunk ABI for hosts (docs/abi.md): one host call for a suspension, one guest call for a resumption",
    )
    import_globals: bool = _option(
        FLAG,
        "import the globals __asyncify_state and __asyncify_data from module env (dynamic linking)",
        pass_argument="asyncify-import-globals",
    )
    export_globals: bool = _option(
        FLAG,
        "export these two globals (dynamic linking)",
        pass_argument="asyncify-export-globals",
    )
    linked: bool = _option(
        FLAG,
        "with thunks: functions of other instances, with globals of their own, may stand between the module's own when "
        "it is suspended; each import that suspends leaves a frame more",
    )
    snapshots: bool = _option(
        FLAG,
        "export what a host needs to save the module's state and to put it back (docs/abi.md): memories, globals, "
        "tables, dropped segments; hosts then call the start function",
    )
    frame_layouts: bool = _option(
        FLAG,
        "tell in a section what frames hold and where their call sites are in the original, for who looks into "
        "suspended calls (docs/abi.md)",
    )
    record: bool = _option(
        FLAG,
        "note, while the guest unwinds, which functions are on the stack and how often, for hosts that write lists "
        "(docs/lists.md)",
    )
    preempt: str = _option(
        CHOICE,
        "let the guest suspend itself in loops and recursion, by nothing that it calls (docs/abi.md): flag (where the "
        "host has set a request beside the asyncify stack, which takes in-secondary-memory), fuel (where a count "
        "that the guest uses up is below zero) or none",
        default=NO_PREEMPT,
        choices=PREEMPT_CHOICES,
    )
    keep_dwarf: bool = _option(
        FLAG,
        "keep debug information (DWARF, where a source map lies, the build id), though it describes the code as "
        "it was before (default: drop it, with a warning)",
    )
    keep_padding: bool = _option(
        FLAG,
        "keep the numbers that a linker padded so that it can patch them as they are, and with them all offsets "
        "in functions that are not instrumented, as far as lists leave their calls as long as they are (default: "
        "write numbers in code in their shortest form)",
    )
    plain_lists: bool = _option(
        FLAG,
        "take the entries of lists for names as they stand in the module, or patterns of these, and for nothing else, "
        "as Binaryen does: not for what mangled names stand for, nor for functions by their bodies",
    )
    verbose: bool = _option(
        FLAG,
        "report for every function whether it is instrumented, and why",
        pass_argument="asyncify-verbose",
    )
    strict: bool = _option(
        FLAG,
        "make warnings about lists errors: a name that matches nothing in the module",
    )

    def identity(self) -> dict[str, Any]:
        """Return what is not the default, by field, of all that matters for what a module comes out as.

        The import list is not among it: which imports may suspend is told by their names.
        """
        told = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _NO_IDENTITY}
        defaults = {item.name: item.default for item in fields(self)}
        if self.profile:  # thousands of functions
            told["profile"] = hashlib.sha256(repr(self.profile).encode()).hexdigest()
        return {name: _plain(value) for name, value in told.items() if value != defaults[name]}

    def profile_times(self) -> tuple[tuple[str, float], ...]:
        """Return the profile as it is kept: names and times, the longest time first."""
        return _times("profile", self.profile)

    def leaves_out(self) -> bool:
        """Tell whether the options may leave out what suspends after all, because they are wrong about the module."""
        lists = bool(self.imports or self.remove_list or self.only_list)
        return lists or self.ignore_imports or self.ignore_indirect or self.ignore_unwind_from_catch

    def leaves_out_functions(self) -> bool:
        """Tell whether a function that is on the stack at a suspension may be one that is not instrumented."""
        return bool(self.only_list or self.remove_list or self.ignore_indirect)

    def guards(self) -> bool:
        """Tell whether a suspension is refused that would cross a function which is not instrumented."""
        return self.leaves_out_functions() and not self.no_guard

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            kind = item.metadata["kind"]
            if kind == LIST or (item.name == "two_bodies" and not isinstance(value, str)):
                object.__setattr__(self, item.name, _entries(item.name, value))
            elif kind == TIMES:
                object.__setattr__(self, item.name, _times(item.name, value))
            elif not isinstance(value, _TYPES[kind]) or (kind == NUMBER and isinstance(value, bool)):
                raise TypeError(f"the option {item.name} is {_kind_of(value)}: expected {_kind_of(_TYPES[kind]())}")
        if not self.two_bodies:  # an empty list, which is one that was not given
            object.__setattr__(self, "two_bodies", Options.two_bodies)
        _check_exclusions(self)
        _check_profile(self)
        _check_secondary_memory(self)
        if self.optimize not in OPTIMIZE_CHOICES:
            choices = ", ".join(OPTIMIZE_CHOICES)
            raise UsageError(f"optimize is '{self.optimize}': expected one of {choices}")
        _check_preempt(self)


# Fields that change nothing, or that are told otherwise.
_NO_IDENTITY: Final = ("imports", "snapshots", "frame_layouts", "verbose", "strict")


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _check_secondary_memory(options: Options) -> None:
    size, maximum = options.secondary_memory_size, options.secondary_memory_maximum
    if not 1 <= size <= _MAXIMUM_PAGES:
        raise UsageError(f"the size of the secondary memory is {shown(size)} pages: expected 1 to {_MAXIMUM_PAGES}")
    if maximum and not size <= maximum <= _MAXIMUM_PAGES:
        raise UsageError(
            f"the maximum of the secondary memory is {shown(maximum)} page{'' if maximum == 1 else 's'}: "
            f"expected {size} (its size) to {_MAXIMUM_PAGES}"
        )


def _check_exclusions(options: Options) -> None:
    if options.only_list and (options.add_list or options.remove_list):
        raise UsageError("It makes no sense to use both an asyncify only-list together with another list.")
    if options.import_globals and options.export_globals:
        raise UsageError("import_globals and export_globals exclude each other: choose one")
    if options.linked and not options.thunks:
        raise UsageError("linked belongs to thunks: modules of the plain ABI can be linked as they are")
    if options.thunks and options.import_globals and options.in_secondary_memory:
        raise UsageError(
            "import_globals excludes in_secondary_memory: modules that share the globals keep their frames "
            "in the memory that they share"
        )


def _check_profile(options: Options) -> None:
    if not options.profile:
        return
    if options.two_bodies != Options.two_bodies:
        raise UsageError("profile excludes two_bodies: both say which functions get a second body")
    if options.optimize == "size":
        raise UsageError("profile has no effect with optimize=size, which has no second bodies: choose another level")


# Options that leave out functions, or code, in which the guest may stand when it pauses, or that share a state with
# modules that know nothing of it.
_NOT_WITH_PREEMPT: Final = (
    "only_list",
    "remove_list",
    "ignore_indirect",
    "ignore_unwind_from_catch",
    "import_globals",
    "export_globals",
)


def _check_preempt(options: Options) -> None:
    if options.preempt not in PREEMPT_CHOICES:
        choices = ", ".join(PREEMPT_CHOICES)
        raise UsageError(f"preempt is '{options.preempt}': expected one of {choices}")
    if options.preempt == NO_PREEMPT:
        return
    for name in _NOT_WITH_PREEMPT:
        if getattr(options, name):
            raise UsageError(
                f"{name} excludes preempt: the guest can pause in any function with a loop or recursion, and all that "
                "are on the stack then must know of it"
            )
    if options.record:
        raise UsageError(
            "record excludes preempt: a guest that pauses anywhere is to be noted nowhere, as all of it is on the list"
        )
    if options.preempt == PREEMPT_FLAG and not options.in_secondary_memory:
        raise UsageError(
            "preempt=flag takes in_secondary_memory: in its own memory the guest could clear the request (or choose "
            "preempt=fuel)"
        )


def _entries(name: str, value: object) -> tuple[str, ...]:
    """Return a list's entries; a bare string is refused, as its characters would silently become the entries."""
    if isinstance(value, (str, bytes, bytearray, memoryview)) or not isinstance(value, Sequence):
        raise TypeError(f"the option {name} is {_kind_of(value)}: expected a sequence of names, such as ['a', 'b']")
    for entry in value:
        if not isinstance(entry, str):
            raise TypeError(f"the option {name} has {_kind_of(entry)} among its names: {entry!r}")
    return tuple(value)


def _times(name: str, value: object) -> tuple[tuple[str, float], ...]:
    """Return names and times, the longest time first; what several pairs say of a name is added up.

    Raises TypeError for what is no collection of pairs, and UsageError for what is wrong in it. No pairs at all are
    what a profile is that was not given, but for a list or a mapping: who gives one means to say something.
    """
    pairs = value.items() if isinstance(value, Mapping) else value
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, (Sequence, ItemsView)):
        raise TypeError(f"the option {name} is {_kind_of(value)}: expected a mapping from names to times")
    times: dict[str, float] = {}
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise UsageError(f"{name} has {shown(pair)}: expected the name of a function, and a time")
        function, time = pair
        if isinstance(time, bool) or not isinstance(time, (int, float)):
            raise UsageError(f"{name}: the time of '{function}' is {_kind_of(time)}: expected a number")
        if not 0 <= time <= _MOST_TIME:
            raise UsageError(
                f"{name}: the time of '{function}' is {shown(time)}: expected a number from 0 to {_MOST_TIME}"
            )
        times[function] = times.get(function, 0) + time
    if value != () and not any(times.values()):
        raise UsageError(f"{name}: no function took any time in it: leave it out, or record a longer run")
    return tuple(sorted(times.items(), key=lambda item: (-item[1], item[0])))


def _kind_of(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def flag_of(field_name: str) -> str:
    """Return how a field is spelled on the command line."""
    return "--" + field_name.replace("_", "-")


def placeholder_of(metadata: Mapping[str, Any]) -> str:
    """Return what stands for an option's value in help texts and documentation; empty for a flag."""
    kind = metadata["kind"]
    if kind == CHOICE:
        return "{" + ",".join(metadata["choices"]) + "}"
    placeholder: str = metadata.get("placeholder", _PLACEHOLDERS[kind])
    return placeholder


def render_table() -> str:
    """Return the documentation of all options as a Markdown table."""
    lines = ["| `Options` field | command line | Binaryen's `--pass-arg` | meaning |", "| --- | --- | --- | --- |"]
    for item in fields(Options):
        kind = item.metadata["kind"]
        argument = item.metadata["pass_argument"]
        default = "" if kind in _DEFAULTS else f" (default: `{item.default}`)"
        flag = f"{flag_of(item.name)} {placeholder_of(item.metadata)}".rstrip()
        pass_name = item.metadata.get("pass_name", "")
        spelling = f"`{argument}`" if argument else f"the pass `--{pass_name}`" if pass_name else "none"
        lines.append(f"| `{item.name}` | `{flag}` | {spelling} | {item.metadata['help']}{default} |")
    return "\n".join(lines) + "\n"
