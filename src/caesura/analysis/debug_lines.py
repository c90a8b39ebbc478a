"""Which line of which source file an instruction comes from: the line tables of DWARF (section `.debug_line`).

Compilers for WebAssembly put DWARF into custom sections; addresses count from the beginning of the code section's
content. A line table is a program for a small machine that appends rows (DWARF 5, section 6.2); versions 2 to 5 are
read. Nothing else of DWARF is needed for files and lines, so no library is: one that reads all of it would be a
dependency more, and for large modules slower than this.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from caesura.errors import MalformedModule
from caesura.wasm import sections as sec
from caesura.wasm.module import Module

_LINES: Final = ".debug_line"
_STRINGS: Final = ".debug_str"
_LINE_STRINGS: Final = ".debug_line_str"

# Standard opcodes.
_COPY: Final = 1
_ADVANCE_PC: Final = 2
_ADVANCE_LINE: Final = 3
_SET_FILE: Final = 4
_SET_COLUMN: Final = 5
_NEGATE_STATEMENT: Final = 6
_BASIC_BLOCK: Final = 7
_CONST_ADD_PC: Final = 8
_FIXED_ADVANCE_PC: Final = 9
_PROLOGUE_END: Final = 10
_EPILOGUE_BEGIN: Final = 11
_SET_ISA: Final = 12

# Extended opcodes.
_END_SEQUENCE: Final = 1
_SET_ADDRESS: Final = 2
_DEFINE_FILE: Final = 3

# What an entry of a table of folders or files holds (DW_LNCT_...), and in which form (DW_FORM_...).
_PATH: Final = 1
_FOLDER: Final = 2
_FORM_STRING: Final = 0x08
_FORM_STRP: Final = 0x0E
_FORM_LINE_STRP: Final = 0x1F
_FORM_BLOCK: Final = 0x09
_FORM_UDATA: Final = 0x0F
_FORM_FIXED: Final = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}

_LONG: Final = 0xFFFF_FFFF

# Where linkers put code that they removed: from 0 on, or at the end of the address space.
_REMOVED: Final = (0, 0xFFFF_FFFF, 0xFFFF_FFFE)

# More rows than this no module has: line programs can be forged to make any number.
_MOST_ROWS: Final = 50_000_000


class SourceLine:
    """A place in the source: `column` is 0 if it is not known."""

    def __init__(self, file: str, line: int, column: int) -> None:
        self.file: Final = file
        self.line: Final = line
        self.column: Final = column


class DebugLines:
    """The rows of all line tables of a module, by the offset in the module's file."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.rows: list[SourceLine | None] = []

    def at(self, offset: int) -> SourceLine | None:
        """Return the source line of the instruction at a byte offset, if it is known."""
        place = bisect_right(self.starts, offset) - 1
        return self.rows[place] if place >= 0 else None


def read_debug_lines(module: Module) -> DebugLines | None:
    """Return the line tables of a module; None if it has none. Raises MalformedModule for what is none."""
    section = module.custom_section(_LINES)
    code = module.section(sec.CODE)
    if section is None or code is None:
        return None
    strings = _content(module, _STRINGS)
    line_strings = _content(module, _LINE_STRINGS)
    data = module.data[section.payload : section.end]
    found: list[tuple[int, int, SourceLine | None]] = []
    position = 0
    try:
        while position < len(data):
            unit = _Unit(data, position, strings, line_strings)
            unit.run(found)
            position = unit.end
    except IndexError:
        raise MalformedModule("the debug information ends too early", section.payload + position) from None
    found.sort(key=_by_place)
    lines = DebugLines()
    for address, _, row in found:
        offset = code.payload + address
        if lines.starts and lines.starts[-1] == offset:
            lines.rows[-1] = row
        else:
            lines.starts.append(offset)
            lines.rows.append(row)
    return lines


def _by_place(row: tuple[int, int, SourceLine | None]) -> tuple[int, int]:
    return row[0], row[1]


def _content(module: Module, name: str) -> bytes:
    section = module.custom_section(name)
    return b"" if section is None else module.data[section.payload : section.end]


class _Unit:
    """The line table of one compilation unit; reading beyond its end is an IndexError."""

    def __init__(self, data: bytes, start: int, strings: bytes, line_strings: bytes) -> None:
        self._data: Final = data
        self._strings: Final = strings
        self._line_strings: Final = line_strings
        self._position = start
        self._wide = False
        self.end = len(data)
        length = self._number(4)
        if length == _LONG:
            self._wide = True
            length = self._number(8)
        if length > len(data) - self._position:
            raise IndexError("a unit reaches beyond the section")
        self.end = self._position + length
        self._files: list[str] = []
        self._version = self._number(2)
        self._known = 2 <= self._version <= 5
        if self._known:
            self._read_header()

    def _read_header(self) -> None:
        if self._version >= 5:
            self._number(2)  # sizes of addresses and segment selectors
        length = self._number(8 if self._wide else 4)
        program = self._position + length
        self._least_instruction = self._number(1)
        if self._version >= 4:
            self._number(1)  # operations in an instruction, of machines that have several
        self._number(1)  # whether rows begin statements
        base = self._number(1)
        self._line_base = base - 256 if base > 127 else base
        self._line_range = self._number(1)
        self._opcode_base = self._number(1)
        self._operands = [self._number(1) for _ in range(1, self._opcode_base)]
        if self._line_range == 0:
            raise MalformedModule("the debug information has a line table without a range of lines")
        if self._version >= 5:
            folders = self._read_entries([])
            self._files = self._read_entries(folders)
        else:
            folders = [""]
            while name := self._text(self._data):
                folders.append(name)
            self._files = [""]
            while name := self._text(self._data):
                self._files.append(_join(folders, self._unsigned(), name))
                self._unsigned()
                self._unsigned()
        self._position = program

    def _read_entries(self, folders: list[str]) -> list[str]:
        """Read a table of folders or files of version 5."""
        formats = [(self._unsigned(), self._unsigned()) for _ in range(self._number(1))]
        count = self._unsigned()
        if formats and count > self.end - self._position:
            raise IndexError("more entries than bytes")
        names: list[str] = []
        for _ in range(count if formats else 0):
            name = ""
            folder = 0
            for content, form in formats:
                if content == _PATH:
                    name = self._string(form)
                elif content == _FOLDER:
                    folder = self._value(form)
                else:
                    self._value(form)
            names.append(_join(folders, folder, name))
        return names

    def _string(self, form: int) -> str:
        if form == _FORM_STRING:
            return self._text(self._data)
        place = self._number(8 if self._wide else 4)
        return _text_at(self._line_strings if form == _FORM_LINE_STRP else self._strings, place)

    def _value(self, form: int) -> int:
        if form == _FORM_UDATA:
            return self._unsigned()
        if form == _FORM_BLOCK:
            self._position += self._unsigned()
            return 0
        if form == _FORM_STRING:
            self._text(self._data)
            return 0
        if form in (_FORM_STRP, _FORM_LINE_STRP):
            return self._number(8 if self._wide else 4)
        if form not in _FORM_FIXED:
            raise MalformedModule(f"the debug information has a file's entry in form {form}, which is unknown")
        return self._number(_FORM_FIXED[form])

    def run(self, rows: list[tuple[int, int, SourceLine | None]]) -> None:
        """Run the line program; append its rows: address, order, and what is there (None: nothing from here on)."""
        if not self._known:
            return
        address, file, line, column = 0, 1, 1, 0
        removed = False
        advance = (255 - self._opcode_base) // self._line_range * self._least_instruction
        while self._position < self.end:
            opcode = self._number(1)
            emits = False
            if opcode >= self._opcode_base:
                adjusted = opcode - self._opcode_base
                address += adjusted // self._line_range * self._least_instruction
                line += self._line_base + adjusted % self._line_range
                emits = True
            elif opcode == 0:
                size = self._unsigned()
                behind = self._position + size
                extended = self._number(1) if size else 0
                if extended == _SET_ADDRESS:
                    address = self._number(size - 1)
                    removed = address in _REMOVED
                elif extended == _END_SEQUENCE:
                    if not removed:
                        rows.append((address, 0, None))
                    address, file, line, column = 0, 1, 1, 0
                    removed = False
                elif extended == _DEFINE_FILE:
                    self._files.append(self._text(self._data))
                self._position = behind
            elif opcode == _COPY:
                emits = True
            elif opcode == _ADVANCE_PC:
                address += self._unsigned() * self._least_instruction
            elif opcode == _ADVANCE_LINE:
                line += self._signed()
            elif opcode == _SET_FILE:
                file = self._unsigned()
            elif opcode == _SET_COLUMN:
                column = self._unsigned()
            elif opcode == _CONST_ADD_PC:
                address += advance
            elif opcode == _FIXED_ADVANCE_PC:
                address += self._number(2)
            else:
                for _ in range(self._operands[opcode - 1]):
                    self._unsigned()
            if emits and not removed:
                if len(rows) >= _MOST_ROWS:
                    raise MalformedModule("the debug information has more lines than any program")
                name = self._files[file] if 0 <= file < len(self._files) else ""
                rows.append((address, len(rows) + 1, SourceLine(name, line, column) if line > 0 and name else None))

    def _number(self, size: int) -> int:
        position = self._position
        if size < 0 or position + size > self.end:
            raise IndexError("beyond the end of a line table")
        self._position = position + size
        if size == 1:
            return self._data[position]
        return int.from_bytes(self._data[position : position + size], "little")

    def _unsigned(self) -> int:
        value = 0
        shift = 0
        while True:
            byte = self._number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 63:
                raise MalformedModule("the debug information has a number of more than 64 bits")

    def _signed(self) -> int:
        value = 0
        shift = 0
        while True:
            byte = self._number(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value - (1 << shift) if byte & 0x40 else value
            if shift > 63:
                raise MalformedModule("the debug information has a number of more than 64 bits")

    def _text(self, data: bytes) -> str:
        text = _text_at(data, self._position)
        self._position = data.index(b"\0", self._position) + 1
        return text


def _text_at(data: bytes, place: int) -> str:
    end = data.find(b"\0", place)
    if place > len(data) or end < 0:
        raise IndexError("a text has no end")
    return data[place:end].decode("utf-8", "replace")


def _join(folders: list[str], folder: int, name: str) -> str:
    """Return the path of a file; that of a folder is below the first one, unless it is absolute."""
    if name.startswith("/") or not folders:
        return name
    below = folders[folder] if folder < len(folders) else ""
    if folder and folders[0] and below and not below.startswith("/"):
        below = f"{folders[0]}/{below}"
    return f"{below}/{name}" if below else name
