"""Measures how long Wasmtime takes to compile a module, and the machine code, as runners/compiling.mjs does in Node.

python -m benchmarks.running.wasmtime_compiling '{"file": "<module>"}'

The machine code is the section `.text` of the ELF image that Wasmtime serialises a module to.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from pathlib import Path
from typing import Final

import wasmtime

# Where the ELF header (64 bits, little endian) says how the table of sections is found, and what an entry of it holds.
TABLE: Final = struct.Struct("<40x Q 10x H H H")
ENTRY: Final = struct.Struct("<I 20x Q Q")


def main() -> None:
    """Compile the file that the argument names and print what it cost."""
    module = Path(json.loads(sys.argv[1])["file"]).read_bytes()
    engine = wasmtime.Engine()
    begun = time.process_time()  # of all threads
    compiled = wasmtime.Module(engine, module)
    passed = time.process_time() - begun
    code = section_size(bytes(compiled.serialize()), b".text")
    print(json.dumps({"milliseconds": passed * 1000, "machineCode": code}))


def section_size(image: bytes, name: bytes) -> int:
    """Return the size of a section of an ELF image; raise LookupError if there is none of that name."""
    table, entry_size, count, names_index = TABLE.unpack_from(image)
    sections = [ENTRY.unpack_from(image, table + index * entry_size) for index in range(count)]
    _, names, _ = sections[names_index]
    for name_offset, _, size in sections:
        start = names + name_offset
        if image[start : image.index(0, start)] == name:
            return int(size)
    raise LookupError(f"the image has no section {name.decode()}")


if __name__ == "__main__":
    main()
