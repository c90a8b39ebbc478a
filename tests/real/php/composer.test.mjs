/**
 * Composer under PHP 8.3: it installs a package from a folder, and waits for processes by `proc_open`.
 *
 * `setup.sh` has fetched Composer; without it the test is skipped. Run by `node --test`; CAESURA_PHP_BUILD chooses `plain`,
 * `thunks` or `native`.
 */

import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";

import { startProcess } from "./processes.mjs";
import { instrument, load, repository, run } from "./running.mjs";

const build = process.env.CAESURA_PHP_BUILD ?? ("Suspending" in WebAssembly ? "native" : "thunks");
const fetched = fileURLToPath(new URL("build/tests/composer/", repository));
const composer = join(fetched, "usr");

/** Why there is no Composer, or false where there is. */
function missing() {
  if (existsSync(composer)) return false;
  const reason = join(fetched, "not-fetched.txt");
  return existsSync(reason) ? readFileSync(reason, "utf8").trim() : "Composer is not there: tests/real/php/setup.sh fetches it";
}

// Debian's Composer needs PHP's intl for characters beyond ASCII, of which there are none here.
const normalizer = `<?php class Normalizer {
  const NFD = 4, FORM_D = 4, NFKD = 8, FORM_KD = 8, NFC = 16, FORM_C = 16, NFKC = 32, FORM_KC = 32;
  static function isNormalized($text, $form = 16) { return true; }
  static function normalize($text, $form = 16) { return $text; }
}`;

const files = {
  "composer.json": JSON.stringify({
    version: "1.0.0",
    repositories: [{ type: "path", url: "library", options: { symlink: false } }, { packagist: false }],
    require: { "local/greeting": "^2.0" },
    config: { "disable-tls": true }, // there is no OpenSSL without a network
    scripts: { "post-autoload-dump": "read line; sleep 0.1; echo waited | tee waited.txt" },
  }),
  "library/composer.json": JSON.stringify({
    name: "local/greeting",
    version: "2.1.0",
    autoload: { "psr-4": { "Greeting\\": "src/" } },
  }),
  "library/src/Hello.php": "<?php namespace Greeting; class Hello { static function say() { usleep(10); return 'hello'; } }",
};

/** Write the files of a project that requires a package from a folder in it. */
function writeProject(project) {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(project, name)), { recursive: true });
    writeFileSync(join(project, name), text);
  }
}

describe(`Composer under PHP 8.3, ${build}`, { skip: missing() }, () => {
  let project;
  let start;

  before(async () => {
    if (build != "native") instrument(build);
    project = mkdtempSync(join(tmpdir(), "composer-"));
    writeProject(project);
    start = await load(build);
  });

  after(() => {
    rmSync(project, { recursive: true });
    // PHP's proxy for outgoing connections listens for ever.
    setTimeout(() => process.exit(), 100).unref();
  });

  /** Start a PHP that sees the project as /project, and whose processes run there. */
  const startInProject = async () => {
    const { createNodeFsMountHandler } = await import("@php-wasm/node");
    const php = await start();
    for (const [folder, host] of Object.entries({ "/composer": composer, "/project": project })) {
      php.mkdir(folder);
      await php.mount(folder, createNodeFsMountHandler(host));
    }
    php.chdir("/project");
    await php.setSpawnHandler((command, words, options) => startProcess(command, words, { ...options, cwd: project }));
    return php;
  };

  it("installs a package from a folder", async () => {
    const php = await startInProject();
    php.writeFile("/tmp/normalizer.php", normalizer);
    const settings = ["-d", "include_path=/composer/share/php", "-d", "auto_prepend_file=/tmp/normalizer.php"];
    const env = { PATH: process.env.PATH, COMPOSER_HOME: "/tmp/composer", COMPOSER_ALLOW_SUPERUSER: "1" };
    const command = ["php", ...settings, "/composer/bin/composer", "install", "--no-interaction", "--no-ansi"];
    const done = await php.cli(command, { env });
    const [output, messages, exitCode] = await Promise.all([done.stdoutText, done.stderrText, done.exitCode]);

    assert.equal(exitCode, 0, output + messages);
    assert.match(messages, /Installing local\/greeting \(2\.1\.0\)/);
    assert.match(output, /^waited$/m);
    assert.equal(readFileSync(join(project, "waited.txt"), "utf8"), "waited\n");
  });

  it("has installed what runs, and waits", async () => {
    const php = await startInProject();
    const code = "require '/project/vendor/autoload.php'; echo Greeting\\Hello::say(), Composer\\InstalledVersions::getVersion('local/greeting');";
    assert.deepEqual(await run(php, code), { text: "hello2.1.0.0", exitCode: 0 });
    php.exit();
  });
});
