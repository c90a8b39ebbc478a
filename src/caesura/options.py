"""What can be asked of the transformation: one frozen dataclass is the truth.

The library takes an `Options`; the command line (`caesura.cli.options`) and the table in `docs/options.md`
(`render_table`) are derived from its fields, so that neither can drift. Every field carries metadata: its kind, the
name of Binaryen's pass argument with the same meaning, and a help text. Meaning follows Binaryen's Asyncify pass
throughout, including that an empty list is one that was not given: an empty import list means that every import may
suspend, and "no import suspends" is `ignore_imports`. Telling `None` from an empty tuple was rejected: the pass
cannot, and two kinds of empty invite mistakes that only show when a guest fails to resume.

This file is not compiled: what people read in `help` and in editors, signatures and docstrings, does not survive that.
The kinds of values are therefore checked here, as compiled code would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from caesura.errors import UsageError

FLAG: Final = "flag"
LIST: Final = "list"
TEXT: Final = "text"
NUMBER: Final = "number"
CHOICE: Final = "choice"

OPTIMIZE_CHOICES: Final = ("size", "balanced", "speed")

# What stands for a value of each kind in help texts and documentation; a choice shows its words.
_PLACEHOLDERS: Final = {FLAG: "", LIST: "LIST", TEXT: "NAME", NUMBER: "N"}

# The type of a value of each kind, but for lists.
_TYPES: Final = {FLAG: bool, TEXT: str, NUMBER: int, CHOICE: str}

_MAXIMUM_PAGES: Final = 65536


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to instrument a module.

    Every default is Binaryen's: all imports may suspend, and all calls through references, or through tables that
    others than the module can change. Lists are sequences of names, and are kept as tuples. Raises TypeError for a
    value of the wrong kind, with the name of its field, and UsageError for options that exclude each other.
    """

    imports: Sequence[str] = field(
        default=(),
        metadata={
            "kind": LIST,
            "pass_argument": "asyncify-imports",
            "help": "the imports that may suspend, as module.name; all others then may not (default: every import may)",
        },
    )
    ignore_imports: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "asyncify-ignore-imports",
            "help": "assume that no import may suspend, but for those on the import list",
        },
    )
    ignore_indirect: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "asyncify-ignore-indirect",
            "help": "assume that nothing suspends inside a call through a table or a reference, "
            "but for such calls in functions on the add-list or the only-list",
        },
    )
    remove_list: Sequence[str] = field(
        default=(),
        metadata={
            "kind": LIST,
            "pass_argument": "asyncify-removelist",
            "help": "functions that are never on the stack at a suspension, whatever the analysis says",
        },
    )
    add_list: Sequence[str] = field(
        default=(),
        metadata={
            "kind": LIST,
            "pass_argument": "asyncify-addlist",
            "help": "functions to instrument even where the analysis sees no need",
        },
    )
    propagate_addlist: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "asyncify-propagate-addlist",
            "help": "instrument the callers of functions on the add-list too, and theirs, and so on",
        },
    )
    only_list: Sequence[str] = field(
        default=(),
        metadata={
            "kind": LIST,
            "pass_argument": "asyncify-onlylist",
            "help": "instrument these functions and no others; excludes the add-list and the remove-list",
        },
    )
    asserts: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "asyncify-asserts",
            "help": "add checks that trap where a function that is not instrumented sees a suspension",
        },
    )
    ignore_unwind_from_catch: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "asyncify-ignore-unwind-from-catch",
            "help": "silently ignore a suspension that starts inside an old-form catch body (unsafe in general)",
        },
    )
    memory: str = field(
        default="memory",
        metadata={
            "kind": TEXT,
            "pass_argument": "asyncify-memory",
            "help": "the exported name of the memory that holds the asyncify stack, in a module with several memories",
        },
    )
    in_secondary_memory: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "asyncify-in-secondary-memory",
            "help": "keep the asyncify stack in a new memory of its own",
        },
    )
    secondary_memory_size: int = field(
        default=1,
        metadata={
            "kind": NUMBER,
            "pass_argument": "asyncify-secondary-memory-size",
            "help": "the size of that new memory in pages of 64 KiB",
        },
    )
    secondary_memory_maximum: int = field(
        default=0,
        metadata={
            "kind": NUMBER,
            "pass_argument": "",
            "help": "up to how many pages that memory may grow (0: not at all, but with thunks 1024); "
            "only thunks grow it",
        },
    )
    two_bodies: str = field(
        default="auto",
        metadata={
            "kind": TEXT,
            "placeholder": "LIST",
            "pass_argument": "",
            "help": "which functions get a second body that only resumes, so that the first runs at nearly full speed: "
            "auto (as optimize says), never, all, or a list of names",
        },
    )
    optimize: str = field(
        default="balanced",
        metadata={
            "kind": CHOICE,
            "choices": OPTIMIZE_CHOICES,
            "pass_argument": "",
            "help": "size (no second bodies), balanced (second bodies for interpreters and for functions that look "
            "busy, for about a quarter more bytes), or speed (for these, whatever they take, and every function with "
            "many call sites, or with call sites in loops unless it is large)",
        },
    )
    no_multivalue: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "",
            "help": "add no functions with several results, for tools that lack the multi-value feature; up to 5 bytes "
            "more for each saved value",
        },
    )
    thunks: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "",
            "help": "add the thunk ABI for hosts (docs/abi.md): one host call for a suspension, one guest call for a "
            "resumption",
        },
    )
    import_globals: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "asyncify-import-globals",
            "help": "import the globals __asyncify_state and __asyncify_data from module env (dynamic linking)",
        },
    )
    export_globals: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "asyncify-export-globals",
            "help": "export these two globals (dynamic linking)",
        },
    )
    keep_dwarf: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "",
            "help": "keep debug information (DWARF, where a source map lies, the build id), though it describes the "
            "code as it was before (default: drop it, with a warning)",
        },
    )
    keep_padding: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "",
            "help": "keep the numbers that a linker padded so that it can patch them as they are, and with them all "
            "offsets in functions that are not instrumented (default: write numbers in code in their shortest form)",
        },
    )
    verbose: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "asyncify-verbose",
            "help": "report for every function whether it is instrumented, and why",
        },
    )
    strict: bool = field(
        default=False,
        metadata={
            "kind": FLAG,
            "pass_argument": "",
            "help": "make warnings about lists errors: a name that matches nothing in the module",
        },
    )

    def leaves_out(self) -> bool:
        """Tell whether the options may leave out what suspends after all, because they are wrong about the module."""
        lists = bool(self.imports or self.remove_list or self.only_list)
        return lists or self.ignore_imports or self.ignore_indirect or self.ignore_unwind_from_catch

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            kind = item.metadata["kind"]
            if kind == LIST:
                object.__setattr__(self, item.name, _entries(item.name, value))
            elif not isinstance(value, _TYPES[kind]) or (kind == NUMBER and isinstance(value, bool)):
                raise TypeError(f"the option {item.name} is {_kind_of(value)}: expected {_kind_of(_TYPES[kind]())}")
        if not self.two_bodies:  # an empty list, which is one that was not given
            object.__setattr__(self, "two_bodies", Options.two_bodies)
        if self.only_list and (self.add_list or self.remove_list):
            raise UsageError("It makes no sense to use both an asyncify only-list together with another list.")
        if self.import_globals and self.export_globals:
            raise UsageError("import_globals and export_globals exclude each other: choose one")
        if self.secondary_memory_size < 1 or self.secondary_memory_size > _MAXIMUM_PAGES:
            raise UsageError(
                f"the size of the secondary memory is {self.secondary_memory_size} pages: "
                f"expected 1 to {_MAXIMUM_PAGES}"
            )
        if self.secondary_memory_maximum and not (
            self.secondary_memory_size <= self.secondary_memory_maximum <= _MAXIMUM_PAGES
        ):
            raise UsageError(
                f"the maximum of the secondary memory is {self.secondary_memory_maximum} "
                f"page{'' if self.secondary_memory_maximum == 1 else 's'}: "
                f"expected {self.secondary_memory_size} (its size) to {_MAXIMUM_PAGES}"
            )
        if self.optimize not in OPTIMIZE_CHOICES:
            choices = ", ".join(OPTIMIZE_CHOICES)
            raise UsageError(f"optimize is '{self.optimize}': expected one of {choices}")
        if self.thunks and self.import_globals and self.in_secondary_memory:
            raise UsageError(
                "import_globals excludes in_secondary_memory: modules that share the globals keep their frames "
                "in the memory that they share"
            )


def _entries(name: str, value: object) -> tuple[str, ...]:
    """Return a list's entries; a bare string is refused, as its characters would silently become the entries."""
    if isinstance(value, (str, bytes, bytearray, memoryview)) or not isinstance(value, Sequence):
        raise TypeError(f"the option {name} is {_kind_of(value)}: expected a sequence of names, such as ['a', 'b']")
    for entry in value:
        if not isinstance(entry, str):
            raise TypeError(f"the option {name} has {_kind_of(entry)} among its names: {entry!r}")
    return tuple(value)


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
        default = "" if kind == FLAG or kind == LIST else f" (default: `{item.default}`)"
        flag = f"{flag_of(item.name)} {placeholder_of(item.metadata)}".rstrip()
        spelling = f"`{argument}`" if argument else "none"
        lines.append(f"| `{item.name}` | `{flag}` | {spelling} | {item.metadata['help']}{default} |")
    return "\n".join(lines) + "\n"
