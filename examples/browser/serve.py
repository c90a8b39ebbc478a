"""Serve the page: `python examples/browser/serve.py`, then open the address that it prints.

The guest is assembled and instrumented when the server starts. `?ponyfill` behind the address runs it over the ponyfill
even where the engine has JSPI of its own.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import wasmtime

import caesura

HERE: Final = Path(__file__).resolve().parent
WASM: Final = "application/wasm"


class Page(SimpleHTTPRequestHandler):
    """Answers with the page's files, the package's, the two builds of the guest, and something to fetch."""

    def __init__(self, builds: dict[str, bytes], *arguments: object) -> None:
        self._builds = builds
        super().__init__(*arguments, directory=str(HERE))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer a request."""
        path, _, query = self.path.partition("?")
        if path == "/data":
            step = query.removeprefix("step=")
            self._send(b"x" * (100 + 7 * int(step) if step.isdecimal() else 100), "text/plain")
        elif path.lstrip("/") in self._builds:
            self._send(self._builds[path.lstrip("/")], WASM)
        else:
            super().do_GET()

    def translate_path(self, path: str) -> str:
        """Find the package's files in its own folder."""
        if path.startswith("/js/src/"):
            return str(HERE.parents[1] / "js" / "src" / Path(path).name)
        return super().translate_path(path)

    def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the base class chose the name
        """Say nothing of every request."""

    def _send(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Build the guest and serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the example page.")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen on; 0 for any (default: 8000)")
    port: int = parser.parse_args().port
    bare = bytes(wasmtime.wat2wasm((HERE / "guest.wat").read_text()))
    # This guest has no memory of its own, so its stack goes into one that is added. Engines have several memories later
    # than they have anything else that the page needs: a guest with an allocator needs no second one.
    options = caesura.Options(imports=("page.sleep", "page.read"), thunks=True, in_secondary_memory=True)
    builds = {"guest.wasm": bare, "guest.instrumented.wasm": caesura.instrument(bare, options).module}
    try:
        listening = ThreadingHTTPServer(("127.0.0.1", port), partial(Page, builds))
    except (OSError, OverflowError) as error:
        sys.exit(f"cannot listen on port {port}: {error}; choose another with --port")
    with listening as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
