"""What to do in which order: a first run of the real wasm-opt, Asyncify, a second run of the real wasm-opt.

Passes before `--asyncify` belong to the first run and passes behind it to the second, with two exceptions, because
Binaryen rewrites a whole module even for the smallest pass, and its optimizer makes instrumented code larger:

* passes that only drop custom sections are done here, as long as their run has nothing else to do;
* optimization levels behind `--asyncify` (`--asyncify -O3`) are for the code that Binaryen's pass leaves behind, which
  needs cleaning; ours does not. They move to the end of the first run, so that the guest itself is optimized as asked.
  This is not done where it could change what is instrumented: where a list names functions, which the optimizer may
  inline, or where the guest has its own runtime (imports of module `asyncify`), which must not be inlined; nor where
  other passes stand behind `--asyncify` too, since their order may matter.

Old-form exceptions are translated (`--translate-to-exnref`, and `--emit-exnref`, which means the end of the line)
before `--asyncify`, wherever the line says so: in Binaryen a guest then can be suspended in more places. The first run
does it if it does other passes besides, else the transformation.

Settings go to both runs. So does the level that counts for passes without one of their own, which in Binaryen is the
last on the whole line. A pass argument with the name of a pass belongs to the closest such pass before it; all others
are global.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caesura.cli.wasm_opt import arguments
from caesura.cli.wasm_opt.arguments import Argument, CommandLine
from caesura.cli.wasm_opt.asyncify import PREFIX
from caesura.errors import UsageError
from caesura.options import Options

ASYNCIFY: Final = "asyncify"
TRANSLATE: Final = "translate-to-exnref"

STRIP_PASSES: Final = frozenset(["strip", "strip-debug", "strip-dwarf", "strip-producers", "strip-target-features"])

# Optimize and shrink level of each optimization option.
_LEVEL_VALUES: Final = {
    "-O": (2, 1),
    "-O0": (0, 0),
    "-O1": (1, 0),
    "-O2": (2, 0),
    "-O3": (3, 0),
    "-O4": (4, 0),
    "-Os": (2, 1),
    "-Oz": (2, 2),
}

_SPEED_ABOVE_ALL: Final = 3
_SIZE_ABOVE_ALL: Final = 2


@dataclass(frozen=True)
class Run:
    """One side of `--asyncify`: arguments for the real wasm-opt, or, where it is not needed, sections to drop here."""

    needed: bool
    words: tuple[str, ...]
    strips: tuple[str, ...]


@dataclass(frozen=True)
class Steps:
    """The two runs around the transformation."""

    first: Run
    second: Run


def wants_asyncify(line: CommandLine) -> bool:
    """Tell whether the line asks for Asyncify at all."""
    return not _is_skipped(line, ASYNCIFY) and any(_is_asyncify(item) for item in line.arguments)


def wants_translation(line: CommandLine) -> bool:
    """Tell whether the line asks for new-form exceptions in the place of old-form ones."""
    translates = not _is_skipped(line, TRANSLATE) and any(_is_translation(item) for item in line.arguments)
    return translates or line.has(arguments.EMIT_EXNREF)


def _is_skipped(line: CommandLine, name: str) -> bool:
    return any(item.name == arguments.SKIP_PASS and item.value == name for item in line.arguments)


def divide(line: CommandLine, options: Options, *, is_text: bool, has_own_runtime: bool) -> Steps:
    """Divide a command line at its `--asyncify`.

    `is_text` says that the input is in the text format, which only the real wasm-opt reads. Raises UsageError for what
    cannot be combined with `--asyncify`.
    """
    _refuse(line)
    level = _default_level(line)
    steps = [item for item in line.arguments if item.kind in (arguments.PASS, arguments.LEVEL)]
    place = next(index for index, item in enumerate(steps) if _is_asyncify(item))
    before = steps[:place]
    after = [item for item in steps[place + 1 :] if not _is_translation(item)]
    movable = all(item.kind == arguments.LEVEL or item.pass_name in STRIP_PASSES for item in after)
    if movable and not has_own_runtime and not (options.add_list or options.remove_list or options.only_list):
        before = before + [item for item in after if item.kind == arguments.LEVEL]
        after = [item for item in after if item.kind != arguments.LEVEL]
    exnref = line.has(arguments.EMIT_EXNREF)
    text = line.has(arguments.EMIT_TEXT) or line.has(arguments.PRINT_STACK_IR)
    first_words = ["--emit-exnref", *level] if exnref else level
    return Steps(
        first=_run(line, before, first_words, needed=is_text),
        second=_run(line, after, level, needed=text, kinds=(arguments.SETTING, arguments.LAST_RUN)),
    )


def _is_asyncify(item: Argument) -> bool:
    return item.kind == arguments.PASS and item.pass_name == ASYNCIFY


def _is_translation(item: Argument) -> bool:
    return item.kind == arguments.PASS and item.pass_name == TRANSLATE


def _refuse(line: CommandLine) -> None:
    for item in line.arguments:
        if item.kind == arguments.UNUSABLE:
            raise UsageError(f"option '{item.words[0]}' cannot be combined with --asyncify")
    if sum(1 for item in line.arguments if _is_asyncify(item)) > 1:
        raise UsageError("--asyncify is given twice: a module can be instrumented only once")


def _run(
    line: CommandLine,
    steps: list[Argument],
    extra: list[str],
    *,
    needed: bool,
    kinds: tuple[str, ...] = (arguments.SETTING,),
) -> Run:
    """Return one run, with all arguments of some kinds besides its steps and what concerns these.

    It needs the real tool if any of its steps does, or if `needed` says so.
    """
    works = any(not _is_free(item) for item in steps)
    if not works and not needed:
        strips = tuple(item.pass_name for item in steps if item.kind == arguments.PASS and not _is_translation(item))
        return Run(needed=False, words=(), strips=strips)
    words: list[str] = []
    for index, item in enumerate(line.arguments):
        if item.kind in (arguments.PASS, arguments.LEVEL):
            wanted = any(item is step for step in steps)
        elif item.kind == arguments.PASS_ARGUMENT:
            wanted = _is_for(line, index, steps)
        else:
            wanted = item.kind in kinds
        if wanted:
            words.extend(item.words)
    words += extra
    if not works:
        words.append("--quiet")  # no complaint that there is no pass to run
    return Run(needed=True, words=tuple(words), strips=())


def _is_free(item: Argument) -> bool:
    """Tell whether a step needs no real wasm-opt: `-O0` does nothing, others can be done here."""
    return item.name == "-O0" if item.kind == arguments.LEVEL else item.pass_name in (*STRIP_PASSES, TRANSLATE)


def _is_for(line: CommandLine, index: int, steps: list[Argument]) -> bool:
    """Tell whether a pass argument concerns the steps of a run."""
    key = line.arguments[index].key
    if key == ASYNCIFY or key.startswith(PREFIX):
        return False
    for item in reversed(line.arguments[:index]):
        if item.kind == arguments.PASS and item.pass_name == key:
            return any(item is step for step in steps)
    return True


def _levels(line: CommandLine) -> tuple[int | None, int | None]:
    """Return the optimize and shrink level that count for passes without one of their own, where options say so."""
    optimize, shrink = None, None
    for item in line.arguments:
        if item.kind == arguments.LEVEL:
            optimize, shrink = _LEVEL_VALUES[item.name]
        elif item.name == arguments.OPTIMIZE_LEVEL:
            optimize = _level(item)
        elif item.name == arguments.SHRINK_LEVEL:
            shrink = _level(item)
    return optimize, shrink


def optimize_choice(line: CommandLine) -> str:
    """Return which of the transformation's ways to optimize the line's level means."""
    optimize, shrink = _levels(line)
    if shrink is not None and shrink >= _SIZE_ABOVE_ALL:
        return "size"
    return "speed" if optimize is not None and optimize >= _SPEED_ABOVE_ALL and not shrink else "balanced"


def _default_level(line: CommandLine) -> list[str]:
    """Return the options that set these levels."""
    named = zip((arguments.OPTIMIZE_LEVEL, arguments.SHRINK_LEVEL), _levels(line), strict=True)
    return [f"{name}={level}" for name, level in named if level is not None]


def _level(item: Argument) -> int:
    if not item.value.isdecimal():
        raise UsageError(f"the value of option '{item.words[0]}' is '{item.value}': expected a number")
    return int(item.value)
