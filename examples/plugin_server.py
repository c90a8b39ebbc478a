"""A web server that runs strangers' programs: upload a WASI command, then send it input and get its output as it comes.

    python -m examples.plugin_server [--port 8000]
    curl --data-binary @program.wasm http://127.0.0.1:8000/programs           # answers with the program's name
    curl --data-binary @input.txt http://127.0.0.1:8000/programs/NAME/run     # streams the program's output

docs/server.md says why each part is as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

import caesura
from caesura import Program  # now, since it imports what runs guests: not when the first one asks

LARGEST_PROGRAM: Final = 10 << 20
LARGEST_INPUT: Final = 1 << 20
MEMORY: Final = 64 << 20
SECONDS: Final = 2.0
SECONDS_TO_COMPILE: Final = 60.0
AT_ONCE: Final = 100
PROGRAMS: Final = 50

# Pieces of output that wait for a slow client before its program has to.
_PIECES: Final = 8

programs: dict[str, Program] = {}
threads: Final = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="guest")


class Run:
    """One program at work, in a thread of its own; its output is iterated in the server's loop."""

    def __init__(self, program: Program, given: bytes) -> None:
        self._program = program
        self._given = given
        self._loop = asyncio.get_running_loop()
        self._output: asyncio.Queue[bytes] = asyncio.Queue(_PIECES)
        self._stopping = threading.Event()
        self._interruptions = caesura.Interruptions()

    async def output(self) -> AsyncIterator[bytes]:
        """Run the program; yield what it writes, and at the end in a line why it ended, if not well."""
        running = asyncio.ensure_future(self._loop.run_in_executor(threads, self._run))
        piece = asyncio.ensure_future(self._output.get())
        try:
            while not running.done():
                await asyncio.wait({piece, running}, return_when=asyncio.FIRST_COMPLETED)
                if piece.done():
                    yield piece.result()
                    piece = asyncio.ensure_future(self._output.get())
            await asyncio.sleep(0)  # what the program wrote last may be in the queue, or with `piece` already
            if piece.done():
                yield piece.result()
            while not self._output.empty():
                yield self._output.get_nowait()
            yield running.result()
        finally:  # at the end, and when the client has gone
            piece.cancel()
            self._stopping.set()

    def _run(self) -> bytes:
        done = threading.Event()
        limiting = threading.Thread(target=self._limit, args=(done,))
        limiting.start()
        try:
            return asyncio.run(self._call())
        finally:
            done.set()
            self._stopping.set()
            limiting.join()

    def _limit(self, done: threading.Event) -> None:
        """End the program when its time is over or its client has gone, whatever it does.

        That is tried again and again: an interruption reaches no call that begins after it.
        """
        self._stopping.wait(SECONDS)
        while not done.is_set():
            self._interruptions.interrupt()
            self._stopping.set()
            done.wait(0.05)

    async def _call(self) -> bytes:
        watching = asyncio.create_task(self._watch(asyncio.current_task()))
        wasi = caesura.Wasi(stdin=self._given, stdout=self._write, stderr=self._write)
        try:
            async with await self._program.load(
                wasi=wasi,
                memory_limit=MEMORY,
                table_limit=100_000,
                interruptions=self._interruptions,  # it may never end loading either
            ) as guest:
                code = await guest.run()
        except asyncio.CancelledError:
            return b"\n(stopped)\n"
        except caesura.CaesuraError as error:  # it trapped, or did what it must not
            return f"\n({error})\n".encode()
        finally:
            watching.cancel()
        return f"\n(exit code {code})\n".encode() if code else b""

    async def _watch(self, task: asyncio.Task[object] | None) -> None:
        """Cancel the program where it waits; `interrupt` reaches it only while it computes."""
        while not self._stopping.is_set():
            await asyncio.sleep(0.05)
        if task is not None:
            task.cancel()

    def _write(self, piece: bytes) -> None:
        """Hand output to the server's loop, in the program's thread; waits for a slow client."""
        if self._stopping.is_set():
            raise caesura.UsageError("stopped")
        writing = asyncio.run_coroutine_threadsafe(self._output.put(piece), self._loop)
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                return writing.result(0.05)
        writing.cancel()
        raise caesura.UsageError("stopped")


async def read_body(request: Request, most: int) -> bytes | None:
    """Return a request's body, or None if it is too large."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            return None
    return bytes(body)


async def upload(request: Request) -> Response:
    """Compile a program and keep it, under a name made of its content."""
    module = await read_body(request, LARGEST_PROGRAM)
    if module is None:
        return JSONResponse({"error": f"the program has more than {LARGEST_PROGRAM} bytes"}, 413)
    name = hashlib.sha256(module).hexdigest()
    if name not in programs:
        try:
            async with asyncio.timeout(SECONDS_TO_COMPILE):
                program = await caesura.compile(module, wasi=True, interruptible=True, accept_instrumented=False)
        except TimeoutError:
            return JSONResponse({"error": f"the program takes more than {SECONDS_TO_COMPILE} seconds to compile"}, 400)
        except caesura.ResourceError as error:
            return JSONResponse({"error": str(error)}, 503)
        except caesura.CaesuraError as error:
            return JSONResponse({"error": str(error)}, 400)
        while len(programs) >= PROGRAMS:
            del programs[next(iter(programs))]  # the one that was uploaded first; guests of it live on
        programs[name] = program
    return JSONResponse({"name": name}, 201)


async def run(request: Request) -> Response:
    """Run a program with the body as its input; stream its output."""
    program = programs.get(request.path_params["name"])
    if program is None:
        return JSONResponse({"error": "there is no such program: upload it first"}, 404)
    given = await read_body(request, LARGEST_INPUT)
    if given is None:
        return JSONResponse({"error": f"the input has more than {LARGEST_INPUT} bytes"}, 413)
    return StreamingResponse(Run(program, given).output(), media_type="application/octet-stream")


app = Starlette(
    routes=[
        Route("/programs", upload, methods=["POST"]),
        Route("/programs/{name}/run", run, methods=["POST"]),
    ]
)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m examples.plugin_server")
    parser.add_argument("--port", type=int, default=8000, help="0 is any free one (default: 8000)")
    listening = socket.create_server(("127.0.0.1", parser.parse_args().port))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
