"""What `caesura inspect` prints for people: the same that it prints as JSON, in lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from caesura.cli.summary import counted
from caesura.errors import printable

Json = Mapping[str, Any]

# Frames of a call, and ranges of a memory, that are shown; --json has all.
_MOST_FRAMES: Final = 40
_MOST_RANGES: Final = 40


def state_text(told: Json) -> str:
    """Return what is in a state as text."""
    return "\n".join(printable(line) for line in _state(told))


def changes_text(told: Json) -> str:
    """Return what differs between two states as text."""
    lines = [printable(line) for line in _changes(told)]
    return "\n".join(lines) if lines else "no difference"


def _state(told: Json) -> Iterator[str]:
    module = told["module"]
    yield f"module: {module['path'] or 'given as bytes'}, SHA-256 {module['original']}"
    if module["imports"]:
        yield f"  may suspend: {', '.join(module['imports'])}"
    if module["options"]:
        yield f"  options: {', '.join(f'{name}={value}' for name, value in module['options'].items())}"
    if module["embedded"] is not None:
        yield f"  embedded: {counted(module['embedded'], 'byte')}"
    yield ""
    yield counted(len(told["calls"]), "suspended call") + (":" if told["calls"] else "")
    for call in told["calls"]:
        yield from _indented(_call(call))
    for memory in told["memories"]:
        yield ""
        yield from _memory(memory)
    yield from _values("globals", told["globals"])
    if told["tables"]:
        yield ""
        yield "tables:"
        for table in told["tables"]:
            yield f"  {table['index']}: {counted(table['size'], table['type'])}, {table['null']} of them null"
    for what, dropped in told["dropped"].items():
        if dropped:
            yield f"dropped segments of {what}: {', '.join(map(str, dropped))}"
    if told["objects"]:
        yield f"Python objects: {len(told['objects'])}, {counted(sum(told['objects']), 'byte')}"
    for number, one in enumerate(told["exceptions"]):
        carried = ", ".join(value["value"] for value in one["values"])
        yield f"exception {number}: tag {one['tag']} ({carried})"
    if told["wasi"] is not None:
        yield ""
        yield from _wasi(told["wasi"])
    yield ""
    yield "sections:"
    for section in told["sections"]:
        yield f"  {section['name']:<10}{section['stored']:>12,} bytes, {section['codec']}, of {section['size']:,}"


def _call(call: Json) -> Iterator[str]:
    arguments = ", ".join(one["value"] for one in call["arguments"])
    where = f", on a C stack at {call['stack']:#x}" if call["stack"] else ""
    frames = counted(call["frames"], "byte")
    yield f"{call['export']}, in {call['function']}({arguments}), {frames} of frames{where}"
    trace = call["backtrace"]
    if trace is None:
        yield f"  no backtrace: {call['why_no_backtrace']}"
        return
    yield from _indented(_frames(trace))


def _frames(trace: Sequence[Json]) -> Iterator[str]:
    """Return a line for each frame; of many, the innermost and the outermost ones."""
    first, behind = _MOST_FRAMES // 2, max(_MOST_FRAMES // 2, len(trace) - _MOST_FRAMES // 2)
    for number, frame in enumerate(trace):
        if number == first < behind:
            yield f"... {counted(behind - first, 'frame')} ..."
        if first <= number < behind:
            continue
        place = f"{frame['file']}:{frame['line']}" if frame["file"] else f"+{frame['offset']:#x}"
        doubt = "" if frame["certain"] else ", or another function with such frames"
        values = ", ".join(_variable(one) for one in frame["variables"])
        function = f"function {frame['index']}" if frame["function"].isdigit() else frame["function"]
        yield f"#{number} {function} ({place}{doubt}) {values}".rstrip()


def _variable(one: Json) -> str:
    name = one["name"] or f"{'parameter' if one['parameter'] else 'local'} {one['index']}"
    return f"{name}: {one['type']} = {one['value']}"


def _memory(memory: Json) -> Iterator[str]:
    size, used = memory["size"], memory["used"]
    initial = f", {memory['initial']:,} of them as the module makes them" if memory["initial"] else ""
    is_used = f"{counted(used, 'byte')} in chunks that are not zero{initial}"
    yield f"memory {memory['index']}: {counted(size, 'byte')}, {is_used}"
    for kind, sizes in memory["kinds"].items():
        yield f"  {kind:<16}{sizes['size']:>14,} bytes" + (f", {sizes['used']:,} used" if sizes["used"] else "")
    claimed = [region for region in memory["regions"] if region["kind"] not in ("zero", "heap")]
    for region in claimed[:_MOST_RANGES]:
        yield f"    {region['kind']} {region['start']:#x} to {region['end']:#x}"
    if len(claimed) > _MOST_RANGES:
        yield f"    ... {counted(len(claimed) - _MOST_RANGES, 'region')} more"


def _values(what: str, values: Sequence[Json]) -> Iterator[str]:
    if values:
        yield ""
        yield f"{what}:"
        for one in values:
            yield f"  {_global(one)}"


def _global(one: Json) -> str:
    name = f" {one['name']}" if one["name"] else ""
    bits = f" ({one['bits']})" if "bits" in one and one["bits"] != one["value"] else ""
    return f"{one['index']}{name}: {one['type']} = {one['value']}{bits}"


def _wasi(wasi: Json) -> Iterator[str]:
    words = [word if word.isprintable() and word and " " not in word else repr(word) for word in wasi["arguments"]]
    yield f"program: {' '.join(words)}"
    for folder in wasi["folders"]:
        yield f"  folder {folder['guest']} is {folder['host']}{'' if folder['writable'] else ', to be read only'}"
    yield "open files:"
    for item in wasi["descriptors"]:
        yield f"  {_file(item, wasi['folders'])}"


def _file(item: Json, folders: list[Json]) -> str:
    is_inside = item["kind"] in ("file", "folder") and 0 <= item["below"] < len(folders)
    below = f" below {folders[item['below']]['guest']}" if is_inside else ""
    place = f", at {item['offset']}" if item["kind"] == "file" else ""
    return f"{item['number']}: {item['kind']} {item['path']}{below}{place}".replace(" ,", ",")


def _changes(told: Json) -> Iterator[str]:
    if not told["module"]["same"]:
        yield "the states are of different modules"
    for call in told["calls"]:
        yield f"call {'gone' if call['change'] == 'gone' else 'new'}:"
        yield from _indented(_call(call))
    for change in told["globals"]:
        yield f"global {_now(change, _global)}"
    for table in told["tables"]:
        yield (
            f"table {table['index']}: {counted(table['changed'], 'element')} changed"
            + _sizes(table["before"], table["now"], "element")
        )
    for memory in told["memories"]:
        yield (
            f"memory {memory['index']}: {counted(memory['changed'], 'byte')} in "
            f"{counted(len(memory['ranges']), 'range')} changed" + _sizes(memory["before"], memory["now"], "byte")
        )
        if memory["unknown"]:
            yield (
                f"  {counted(memory['unknown'], 'byte')} of them in chunks that are as the module makes them in one of "
                "the states: which changed it would tell, and it is not known: give it with --module"
            )
        for one in memory["ranges"][:_MOST_RANGES]:
            yield f"  {one['start']:#x}: {counted(one['size'], 'byte')}, {one['kind']}"
        if len(memory["ranges"]) > _MOST_RANGES:
            yield f"  ... {counted(len(memory['ranges']) - _MOST_RANGES, 'range')} more"
    for what, dropped in told["dropped"].items():
        if dropped:
            yield f"dropped segments of {what}: {', '.join(map(str, dropped))}"
    for change in told["files"]:
        before, now = (
            None if change[when] is None else _file(change[when], told["folders"][when]) for when in ("before", "now")
        )
        yield f"file {_now({'before': before, 'now': now}, str)}"


def _sizes(before: int, now: int, what: str) -> str:
    return "" if before == now else f"; {counted(before, what)} before, {counted(now, what)} now"


def _now(change: Json, text: Any) -> str:
    """Return what was and what is."""
    before, now = change["before"], change["now"]
    if before is None:
        return f"{text(now)} (new)"
    if now is None:
        return f"{text(before)} (gone)"
    return f"{text(now)}, before {text(before).partition(' = ')[2] or text(before)}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"  {line}"
