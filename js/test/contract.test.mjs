/** The version of the contract that a module carries is checked before anything of the module is used. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";

import { Instance, instantiate } from "../src/index.js";
import { CONTRACT_SECTION, CONTRACT_VERSION, NEWEST_VERSION, UNVERSIONED_SECTION } from "../src/abi.js";
import { repository } from "./support/guests.mjs";

const read = (build) => readFileSync(new URL(`build/js/stacks.${build}.wasm`, repository));

/** Return a module without its section of the contract, and with another custom section. */
function withSection(module, name, payload) {
  const kept = [module.subarray(0, 8)];
  for (let at = 8; at < module.length; ) {
    const start = at++;
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = module[at++];
      size |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    const isContract = module[start] == 0 && module.toString("latin1", at + 1, at + 1 + module[at]) == CONTRACT_SECTION;
    at += size;
    if (!isContract) kept.push(module.subarray(start, at));
  }
  if (name) kept.push(Buffer.from([0, name.length + 1 + payload.length, name.length]), Buffer.from(name), Buffer.from(payload));
  return Buffer.concat(kept);
}

const refused = async (module, version) => {
  const error = {
    name: "LinkError",
    message: `contract version ${version}, this host knows ${CONTRACT_VERSION} to ${NEWEST_VERSION}: instrument the module anew`,
  };
  await assert.rejects(instantiate(module, {}), error);
  assert.throws(() => new Instance(new WebAssembly.Module(module), {}), error);
};

for (const build of ["plain", "thunks"]) {
  describe(`the version of a module, ${build}`, () => {
    it("is carried", () => {
      const [section] = WebAssembly.Module.customSections(new WebAssembly.Module(read(build)), CONTRACT_SECTION);
      assert.equal(new Uint8Array(section)[0], CONTRACT_VERSION);
    });

    it("must be one that this host knows", async () => {
      await refused(withSection(read(build), CONTRACT_SECTION, [0, 0]), 0);
      await refused(withSection(read(build), CONTRACT_SECTION, [NEWEST_VERSION + 1, 0]), NEWEST_VERSION + 1);
      await refused(withSection(read(build), CONTRACT_SECTION, [0xac, 2, 0]), 300);
    });

    it("is 0 where there was none yet", async () => {
      await refused(withSection(read(build), UNVERSIONED_SECTION, [0]), 0);
    });
  });
}

it("modules with thunks have a version", () => refused(withSection(read("thunks")), 0));

it("modules without thunks may have none", async () => {
  const module = withSection(read("plain"));
  await assert.rejects(instantiate(module, {}), { name: "TypeError" }, "the imports are what is missing");
});
