/**
 * Processes of the host for PHP's `popen`, `exec` and `proc_open`.
 *
 * PHP's glue takes what `child_process.spawn` returns, and fails with that in two ways. It stops listening to the output
 * when it hears `exit`, which Node sends before all of the output has been read: so `exit` is sent here when the streams
 * have ended. And it looks every 20 ms for more to write to the process's input in the descriptor with the pipe's number,
 * also when `exit` has closed the pipe and PHP has opened another file under this number: from `/dev/urandom` it would read
 * for ever. It ceases to where the process says that it was killed.
 */

import { spawn } from "node:child_process";
import { EventEmitter } from "node:events";

/** Start a process, in the shell where there are no words besides the command; returns what the glue listens to. */
export function startProcess(command, words, options) {
  const child = spawn(command, words, { shell: !words?.length, ...options });
  const { pid, stdin, stdout, stderr } = child;
  const shown = Object.assign(new EventEmitter(), { pid, stdin, stdout, stderr, killed: false });
  stdin.on("error", () => {}); // it need not read what it is sent
  child.on("spawn", () => shown.emit("spawn"));
  child.on("error", (error) => shown.emit("error", error));
  child.on("close", (code, signal) => {
    shown.killed = true;
    shown.emit("exit", code, signal);
  });
  return shown;
}
