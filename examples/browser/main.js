/** The page's side: what the guest imports, and an animation that shows that nothing blocks. */

import * as auto from "/js/src/auto.js";
import * as ponyfill from "/js/src/index.js";

const element = (id) => document.getElementById(id);
const forced = new URLSearchParams(location.search).has("ponyfill");
const api = forced ? ponyfill : auto;
const file = forced ? "guest.instrumented.wasm" : auto.choose("guest.wasm", "guest.instrumented.wasm");
element("engine").textContent = !forced && auto.native ? "the engine's own JSPI" : "caesura's ponyfill";

let frames = 0;
requestAnimationFrame(function draw(now) {
  element("bar").style.backgroundPositionX = `${now / 10}px`;
  element("frames").textContent = String(++frames);
  requestAnimationFrame(draw);
});

const page = {
  sleep: new api.Suspending((milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))),
  read: new api.Suspending(async (number) => {
    const response = await fetch(`data?step=${number}`);
    return (await response.arrayBuffer()).byteLength;
  }),
  report(...values) {
    element("rows").insertRow().append(...values.map((value) => Object.assign(document.createElement("td"), { textContent: value })));
  },
};

try {
  const { instance } = await api.instantiateStreaming(fetch(file), { page });
  const total = await api.promising(instance.exports.run)(12);
  element("state").textContent = `done: ${total} bytes`;
} catch (error) {
  element("state").textContent = `failed: ${error}`;
}
