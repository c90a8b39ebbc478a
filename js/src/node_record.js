/**
 * Loads `caesura/record` where the environment variable CAESURA_RECORD is set: what Node finds behind the package's names
 * imports this before anything else, so that the package sees what the recorder has put into `WebAssembly`.
 *
 * By `require`, since it has to be there when the next module begins, and an `await` in a module keeps others from requiring
 * it. Other engines find the package without this, and without a byte for it.
 */

const { process } = /** @type {any} */ (globalThis);

if (process?.env.CAESURA_RECORD) {
  try {
    process.getBuiltinModule("node:module").createRequire(import.meta.url)("./record.js");
  } catch (error) {
    console.warn(`caesura: nothing is recorded: ${error}; \`node --import\` can load 'caesura/record', or Node 20.19 and later by itself`);
  }
}
