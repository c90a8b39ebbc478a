/** Saved states travel between JavaScript and Python, in the middle of calls, and all of the guest comes along. */

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";

import { bytes } from "./support/guests.mjs";
import { live, serve, shown, startPython } from "./support/saved.mjs";

/** What the guest is asked in a turn. */
const answersOf = (turn, calls) => Array.from({ length: calls }, (_, number) => ((turn * 37 + number * 11) % 50) + 1);

for (const build of ["saved", "saved_thunks", "saved_secondary"]) {
  const code = bytes("saved", build);
  // Node 20 has one memory only.
  const skip = !WebAssembly.validate(code) && "this engine has no second memory";
  describe(`saved states: ${build}`, { skip }, () => {
    const module = skip ? undefined : new WebAssembly.Module(code);
    let python;
    before(() => {
      python = startPython(build);
    });
    after(() => python.end());

    for (const [name, begin] of [
      [`one call, back and forth ${build == "saved_thunks" ? 100 : 10} times`, [[1, build == "saved_thunks" ? 200 : 20, 0.5]]],
      ["three calls on C stacks of their own", [[1, 9, 0.5], [2, 7, 2], [3, 21, 1.5]]],
    ]) {
      for (const first of ["Python", "JavaScript"]) {
        if (first == "JavaScript" && begin.length < 2) continue;
        it(`${name}, from ${first}, as a guest that was never saved`, async () => {
          const hosts = [(request) => serve(request, module), python.ask];
          if (first == "Python") hosts.reverse();
          const alone = live(module, begin);
          let moved = await hosts[0]({ begin, answers: [] });
          assert.deepEqual(moved.after, shown(alone.instance));
          let ended = 0;
          for (let turn = 1; moved.after.calls.length; turn++) {
            const answers = answersOf(turn, moved.after.calls.length);
            const next = await hosts[turn % 2]({ state: moved.state, answers });
            assert.deepEqual(next.before, moved.after, `turn ${turn}`);
            assert.deepEqual(next.results, await alone.step(answers), `turn ${turn}`);
            assert.deepEqual(next.after, shown(alone.instance), `turn ${turn}`);
            ended += next.results.length;
            moved = next;
          }
          assert.equal(ended, begin.length);
        });
      }
    }
  });
}
