// Takes the picture of docs/lab-page.md: node scripts/screenshot-page.mjs, on a built tree, with Debian's chromium.
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { chromium } from "playwright-core";

const root = path.dirname(import.meta.dirname);
const lab = path.join(root, "packages/lab/dist/main.js");
const server = spawn(process.execPath, [lab, "serve", "--no-open"], { stdio: ["ignore", "pipe", "inherit"] });
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--disable-gpu"],
  chromiumSandbox: false,
});
try {
  server.stdout.setEncoding("utf8");
  const [line] = await once(server.stdout, "data");
  const page = await browser.newPage({ viewport: { width: 1000, height: 1060 }, colorScheme: "light" });
  await page.goto(`${line.trim()}#scenes?scene=compact&seed=7&step=4`);
  await page.locator('[data-step="4"][aria-busy=false]').waitFor();
  await page.screenshot({ path: path.join(root, "docs/lab-page.png") });
} finally {
  await browser.close();
  server.kill();
}
