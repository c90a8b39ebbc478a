"""Build the guests of the JavaScript tests, the text modules below `guests` and programs from npm, in every way.

Writes `build/js/<guest>.<build>.wasm`. The builds are `bare` (not instrumented, for engines with JSPI), `plain`
(caesura, Asyncify's own five functions), `thunks` (caesura, thunk ABI), `secondary` (the same with the asyncify stack
in a memory of its own), `saved`, `saved_thunks` and `saved_secondary` (the same three with a state that can be saved),
`linked` (thunks between which other instances may stand), `record_*` (which note what is on their stack), `flag_*` and
`fuel_*` (saved, with pause points of both kinds; `unsaved_*` without the state), `all_*` (any import may suspend),
`listed_*` (with a list of functions) and `binaryen` (`wasm-opt --asyncify`,
where npm's binaryen has been installed). What is up to date stays.
"""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path
from typing import Final

import wasmtime

import caesura
from caesura.instrument.abi.naming import FunctionNames
from caesura.wasm.module import Module
from caesura.wasm.sections import SectionEdits, write_sections

HERE: Final = Path(__file__).resolve().parent
REPOSITORY: Final = HERE.parents[1]
BUILD: Final = REPOSITORY / "build" / "js"
BINARYEN: Final = REPOSITORY / "node_modules" / "binaryen" / "bin" / "wasm-opt"

BUILDS: Final = ("bare", "plain", "thunks", "secondary", "binaryen")

# Guests that cannot be built in every way, or are built in more, with the builds that they are tested in.
ONLY: Final = {
    "catch": ("bare", "plain", "thunks"),  # Binaryen cannot read this form of exceptions as it is
    "foreign": ("plain", "thunks"),
    "lists": ("plain", "thunks"),
    "listed": ("thunks",),
    "guarded": ("plain", "thunks", "secondary", "saved_thunks"),
    "resumed": ("plain", "thunks", "nameless_plain", "nameless_thunks"),
    "turned": ("plain", "thunks", "nameless_plain", "nameless_thunks"),
    "copied": ("plain", "thunks", "nameless_plain", "nameless_thunks"),
    "scheduled": ("plain", "nameless_plain"),
    "recursive": ("plain", "thunks"),
    "hostile_names": ("plain", "thunks"),
    "refused": ("plain",),
    "lies": ("bare",),
    "lies_too": ("bare",),
    "recorded": ("bare", "plain", "thunks", "record_plain", "record_thunks"),
    "example": ("bare", "thunks", "saved_thunks", "fuel_thunks"),
    "memory64": ("plain", "thunks", "saved", "saved_thunks"),
    "running": ("fuel_thunks",),
    "uneven": ("fuel_thunks",),
    "starting": ("fuel_plain", "fuel_thunks", "fuel_secondary", "unsaved_fuel_plain"),
    "called_back": ("fuel_plain", "fuel_thunks"),
    "in_a_row": ("fuel_plain", "fuel_thunks"),
    "converting": ("fuel_plain", "fuel_thunks", "unsaved_fuel_plain", "unsaved_fuel_thunks"),
    "converted": ("plain", "thunks", "linked", "listed_plain", "listed_thunks", "all_plain", "all_thunks"),
    "js_strings": ("unsaved_fuel_plain", "unsaved_fuel_thunks"),
    "computing64": ("fuel_plain", "fuel_thunks"),
    "computing": ("bare", "thunks", "flag_secondary", "fuel_plain", "fuel_thunks", "fuel_secondary"),
    "calls": ("bare", "plain", "thunks", "binaryen"),
    "between": ("bare",),
    "passing": ("bare",),
    "crossed": ("plain", "thunks", "linked", "listed_plain", "listed_thunks"),
    "crossed_by": ("plain", "linked"),
    "own": ("plain", "thunks"),
    "limits": ("plain", "thunks", "binaryen", "saved", "saved_thunks"),
    "fixed": ("plain", "thunks"),
    "told": ("plain", "thunks", "secondary"),
    "unclear": ("plain", "thunks"),
    "values": ("bare", "plain", "thunks"),  # Binaryen has no value for some of these types
    "start": ("thunks", "saved_thunks"),
    "begins": ("saved", "saved_thunks"),
    "saved": ("bare", "thunks", "saved", "saved_thunks", "saved_secondary"),
    "stacks": (*BUILDS, "saved", "saved_thunks", "fuel_plain", "fuel_thunks"),
    "tail_references": ("bare", "plain", "thunks"),
    "tail": ("bare", "plain", "thunks", "secondary"),  # Binaryen's Asyncify knows no tail calls
    "across_a": ("bare", "plain", "thunks", "linked"),
    "boxes": ("bare", "plain", "thunks", "secondary"),
    "speculated": ("bare", "plain", "thunks"),
    # Binaryen's Asyncify cannot save references.
    "references": ("bare", "plain", "thunks", "secondary", "saved", "saved_thunks"),
    "walk": ("plain", "linked"),
    "walk_first": ("plain", "linked"),
    "across_b": ("bare", "plain", "thunks", "linked"),
    "left_a": ("bare", "plain", "thunks", "linked"),
    "left_b": ("bare", "plain", "thunks", "linked"),
    "left_by_reference": ("plain", "linked"),
    "left_again": ("bare",),
    "left_alike": ("plain", "linked"),
    "parameters": ("saved", "saved_thunks"),
    "nothing": ("bare", "plain", "thunks"),
    "pauses": ("flag_secondary", "flag_plain", "fuel_secondary", "fuel_thunks", "fuel_plain"),
    "heap64": ("plain", "thunks"),
    "names": ("bare", "plain", "thunks"),
    "strings": ("bare", "plain", "thunks"),
    "threads": ("bare", "plain", "thunks", "secondary", "saved_thunks"),
    "linked_main": ("bare", "plain", "thunks"),
    "linked_side": ("bare", "plain", "thunks"),
    "linked_handler": ("plain", "thunks"),
    "deep": ("bare", "plain", "thunks", "secondary", "binaryen"),
}

# Programs from npm, in the builds that cannot be suspended, with the builds that they are tested in.
NODE_MODULES: Final = REPOSITORY / "node_modules"
REAL: Final = {
    NODE_MODULES / "wa-sqlite" / "dist" / "wa-sqlite.wasm": "sqlite",
    NODE_MODULES / "@jitl" / "quickjs-wasmfile-release-sync" / "dist" / "emscripten-module.wasm": "quickjs",
}
REAL_BUILDS: Final = ("bare", "plain", "thunks")

# A program from npm whose state is saved.
SAVED: Final = NODE_MODULES / "quickjs-wasi" / "quickjs.wasm"
SAVED_NAME: Final = "quickjs_wasi"

# Kinds of pause points, which the names of the builds that have them contain.
PAUSES: Final = ("flag", "fuel")

# A guest of the other tests, in the same builds.
CATCHING: Final = REPOSITORY / "tests" / "guests" / "wat" / "catching.wat"

# Another one, of what leaves by tail calls.
LEAVING: Final = REPOSITORY / "tests" / "guests" / "wat" / "leaving.wat"

# Another one, whose exceptions are saved.
IN_FLIGHT: Final = REPOSITORY / "tests" / "guests" / "wat" / "in_flight.wat"
SMALL_NUMBERS: Final = REPOSITORY / "tests" / "guests" / "wat" / "small_numbers.wat"
DROPPED_OBJECTS: Final = REPOSITORY / "tests" / "guests" / "wat" / "dropped_objects.wat"

# What the guests use. (With all features on, wasm-opt writes what only the newest engines read.)
FEATURES: Final = ("--enable-multivalue", "--enable-bulk-memory", "--enable-mutable-globals", "--enable-memory64")

# The lists that a guest is instrumented with.
LISTS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "jspi": {"imports": ("env.ask", "env.wide", "env.pair", "env.wait")},
    "stacks": {"imports": ("env.ask",)},
    "foreign": {"imports": ("env.ask",)},
    "ccalls": {"imports": ("env.ask",)},
    "lists": {"imports": ("env.ask",), "remove_list": ("forgotten",)},
    "example": {"imports": ("env.fetch_length",)},
    "refused": {
        "imports": ("env.*",),
        "only_list": ("inner", "fine", "direct", "invoked", "nested", "dispatch", "handing"),
    },
    "recorded": {"imports": ("env.ask", "env.other")},
    "listed": {"only_list": ("read", "run", "other")},
    "guarded": {"only_list": ("wait", "run", "good", "choose", "down", "within", "boom")},
    "hostile_names": {"remove_list": ("left*",)},
    "resumed": {"only_list": ("middle", "walk", "outer"), "two_bodies": ("walk", "outer")},
    "turned": {"two_bodies": ("turn",)},
    "copied": {"only_list": ("inner", "down", "run", "good")},
    "leaving": {
        "imports": ("env.ask",),
        "only_list": ("read", "to_*", "leaves", "from_table", "deep"),
    },
    "scheduled": {"only_list": ("pause", "work", "deep")},
    "recursive": {"imports": ("env.ask",), "remove_list": ("f*", "down")},
    "calls": {"imports": ("env.ask",)},
    "converted": {"imports": ("env.ask", "env.one")},
    "limits": {"imports": ("env.ask",)},
    "saved": {"imports": ("env.ask",)},
    "pauses": {"imports": ("env.ask",)},
    "strings": {"imports": ("env.ask",)},
    "in_a_row": {"imports": ("env.later",)},
    "start": {"imports": ("env.ask",)},
    "begins": {"imports": ("env.ask",)},
    SAVED_NAME: {"imports": ("env.host_call",)},
    "linked_main": {"imports": ("env.ask",)},
    "linked_side": {"remove_list": ("forgotten",)},
}

# The lists of guests' builds that have one, beside others.
LISTED: Final = {
    "crossed": ("deep", "cb", "below", "run"),
    "converted": ("waits", "by_*", "tails"),
}


# What a function has in the place of a comment that says so.
MUCH_CODE: Final = "(i32.store (local.get 0) (i32.const 123456))" * 6_000


def _without_names(module: bytes) -> bytes:
    edits = SectionEdits()
    edits.custom["name"] = None
    return write_sections(module, Module(module).sections, edits)


def build(source: Path, name: str, kind: str, target: Path) -> None:
    """Build a guest of this name in one way."""
    text = source.read_text().replace("(;much code;)", MUCH_CODE) if source.suffix == ".wat" else ""
    bare = bytes(wasmtime.wat2wasm(text)) if text else source.read_bytes()
    lists = LISTS.get(name, {})
    if kind.startswith("nameless"):
        nameless = _without_names(bare)
        names, others = FunctionNames(Module(bare)).names, FunctionNames(Module(nameless)).names
        indices = {key: [names.index(entry) for entry in entries] for key, entries in lists.items()}
        # Exported functions go by that.
        lists = {
            key: tuple(
                caesura.body_entries(nameless, [index])[0] if others[index].isdigit() else others[index]
                for index in chosen
            )
            for key, chosen in indices.items()
        }
        bare = nameless
    if kind == "bare":
        target.write_bytes(bare)
    elif kind == "binaryen":
        original = target.with_suffix(".original")
        original.write_bytes(bare)
        arguments = [
            "--asyncify",
            "-O1",
            *FEATURES,
            f"--pass-arg=asyncify-imports@{','.join(lists.get('imports', ['*']))}",
        ]
        subprocess.run(["node", str(BINARYEN), *arguments, "-o", str(target), str(original)], check=True)
        original.unlink()
    else:
        chosen = caesura.Options(
            imports=() if kind.startswith("all") else lists.get("imports", ()),
            remove_list=lists.get("remove_list", ()),
            only_list=LISTED[name] if kind.startswith("listed") else lists.get("only_list", ()),
            two_bodies=lists.get("two_bodies", caesura.Options().two_bodies),
            ignore_indirect=name == "turned",
            thunks=not kind.endswith("plain") and kind != "saved",
            snapshots=kind.startswith(("saved", *PAUSES)),
            in_secondary_memory=kind.endswith("secondary") or kind.startswith("flag"),
            preempt=next((name for name in PAUSES if name in kind), "none"),
            linked=kind == "linked",
            record=kind.startswith("record"),
            export_globals=source.stem == "linked_main" or kind.startswith("shared"),
            import_globals=source.stem in ("linked_side", "linked_handler"),
        )
        target.write_bytes(caesura.instrument(bare, chosen).module)


def main() -> None:
    """Build what is missing or older than what it is made from."""
    BUILD.mkdir(parents=True, exist_ok=True)
    package = Path(caesura.__file__).parent
    tools = max(file.stat().st_mtime for file in [Path(__file__), *package.rglob("*.py"), *package.rglob("*.so")])
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test files run side by side
        guests = {source: (source.stem, ONLY.get(source.stem, BUILDS)) for source in (HERE / "guests").glob("*.wat")}
        guests |= {source: (name, REAL_BUILDS) for source, name in REAL.items() if source.is_file()}
        if SAVED.is_file():
            guests[SAVED] = (SAVED_NAME, ("saved_thunks", "fuel_thunks"))
        guests[CATCHING] = (CATCHING.stem, REAL_BUILDS)
        guests[LEAVING] = (LEAVING.stem, ("plain", "thunks", "shared_plain", "shared_thunks"))
        guests[IN_FLIGHT] = (IN_FLIGHT.stem, ("saved_secondary",))
        guests[SMALL_NUMBERS] = (SMALL_NUMBERS.stem, ("saved_secondary",))
        guests[DROPPED_OBJECTS] = (DROPPED_OBJECTS.stem, ("saved_secondary",))
        for source, (name, kinds) in guests.items():
            newest = max(tools, source.stat().st_mtime)
            for kind in kinds:
                target = BUILD / f"{name}.{kind}.wasm"
                if kind == "binaryen" and not BINARYEN.is_file():
                    continue
                if not target.is_file() or target.stat().st_mtime < newest:
                    unfinished = target.with_suffix(".new")
                    build(source, name, kind, unfinished)
                    unfinished.rename(target)


if __name__ == "__main__":
    main()
