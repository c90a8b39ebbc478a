// Headless Chromium for the tests that need a browser, by npm's playwright-core; `CAESURA_CHROMIUM` says where another one is.

import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { repository } from "./guests.mjs";

const executablePath = process.env.CAESURA_CHROMIUM ?? "/usr/bin/chromium";
const playwright = await import("playwright-core").catch(() => undefined);

/** Why there is no browser here; false if there is one. */
export const missing = !playwright ? "npm's playwright-core is not installed" : !existsSync(executablePath) && "no Chromium";

export const launch = () => playwright.chromium.launch({ executablePath, args: ["--no-sandbox"] });

/** A page that can import the package's files from /js/src, and what closes it. */
export async function openPage(title) {
  const server = createServer(({ url }, response) => {
    const name = /^\/js\/src\/\w+\.js$/.test(url) ? new URL(url.slice(1), repository) : undefined;
    response.setHeader("content-type", name ? "text/javascript" : "text/html");
    response.end(name ? readFileSync(name) : `<!doctype html><title>${title}</title>`);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const browser = await launch();
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const close = async () => {
    await browser.close();
    server.close();
  };
  return { page, close };
}
