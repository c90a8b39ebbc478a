"""Building the guests of the tests: C and C++ programs with zig's compiler, modules from the text format."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from caesura.abi import CONTRACT_SECTION, CONTRACT_VERSION
from examples.compiling import compiled
from tests.support.engine import assemble
from tests.support.paths import BUILD, GUESTS
from tests.support.sharing import write_whole

# What text modules with thunks carry that are written by hand: the version of the contract, and no facts.
CONTRACT: Final = f'(@custom "{CONTRACT_SECTION}" "\\{CONTRACT_VERSION:02x}\\00")'

C_FLAGS: Final = ("-target", "wasm32-wasi", "-O2", "-Wall", "-Werror", "-s")


def text_guest(name: str) -> bytes:
    """Return the binary form of tests/guests/wat/<name>.wat."""
    return assemble((GUESTS / "wat" / f"{name}.wat").read_text())


def c_guest(name: str, *flags: str) -> bytes:
    """Return tests/guests/c/<name>.c compiled for WASI, with further compiler flags."""
    return c_guest_file(name, *flags).read_bytes()


def c_guest_file(name: str, *flags: str) -> Path:
    """Return the file of such a program."""
    headers = sorted((GUESTS / "c").glob("*.h"))
    return compiled(GUESTS / "c" / f"{name}.c", ["cc", *C_FLAGS, *flags], BUILD / "guests", headers)


# Freestanding, since zig would build the libraries of WASI anew for a processor with exceptions.
CPP_FLAGS: Final = (
    *("-target", "wasm32-freestanding", "-Wall", "-Werror", "-nostdlib", "-Wl,--no-entry", "-s"),
    "-mcpu=generic+exception_handling+bulk_memory+reference_types+multivalue",
    *("-fwasm-exceptions", "-mllvm", "-wasm-enable-eh"),
)


def cpp_guest(name: str, *flags: str, old_form: bool = True) -> bytes:
    """Return tests/guests/cpp/<name>.cpp compiled without libraries, with exceptions in the old or in the new form."""
    form = ("-mllvm", f"-wasm-use-legacy-eh={int(old_form)}")
    headers = sorted((GUESTS / "cpp").glob("*.h"))
    command = ["cc", *CPP_FLAGS, *form, *flags]
    return compiled(GUESTS / "cpp" / f"{name}.cpp", command, BUILD / "guests", headers).read_bytes()


def zig_guest(name: str) -> bytes:
    """Return tests/guests/zig/<name>.zig compiled for WASI."""
    command = ["build-exe", "-target", "wasm32-wasi", "-O", "ReleaseSmall"]
    return compiled(GUESTS / "zig" / f"{name}.zig", command, BUILD / "guests").read_bytes()


def c_text(text: str, *arguments: str) -> bytes:
    """Return a C program given as text, compiled with these arguments and no others."""
    source = BUILD / "guests" / f"text-{hashlib.sha256(text.encode()).hexdigest()[:16]}.c"
    if not source.is_file():
        write_whole(source, text)
    return compiled(source, ["cc", *arguments], source.parent).read_bytes()
