/** A real browser, and a server of the page, for tests. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import path from "node:path";
import axe from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";

const CHROMIUM = "/usr/bin/chromium";
const LAB = path.join(import.meta.dirname, "../../dist/main.js");

export const NO_BROWSER = existsSync(CHROMIUM) ? false : "machine: no Chromium";

/** Nothing of it speaks to the network but the page itself. */
const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts the browser, with a new profile that goes when it's closed. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM, headless: true, chromiumSandbox: false, args: FLAGS });
}

export interface Served {
  readonly url: string;
  stop(): Promise<void>;
}

export async function servePage(): Promise<Served> {
  const args = [LAB, "serve", "--no-open"];
  const child: ChildProcess = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout!.setEncoding("utf8");
  const [line] = (await once(child.stdout!, "data")) as [string];
  return {
    url: line.trim(),
    async stop() {
      const left = once(child, "exit");
      if (child.exitCode === null && child.signalCode === null && child.kill()) await left;
    },
  };
}

/** Notes what a page complains about: errors of scripts, messages of its console, and requests to anywhere else. */
export function complaintsOf(page: Page, url: string): string[] {
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) complaints.push(request.url());
  });
  return complaints;
}

interface Violation {
  readonly id: string;
  readonly help: string;
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
}

/** Returns what axe finds, in words. */
export async function axeFindings(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const { violations } = (await page.evaluate("axe.run()")) as { readonly violations: readonly Violation[] };
  return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes[0]?.html}: ${nodes[0]?.failureSummary}`);
}

/** Waits until the machines of a view, or of a step of a scene, have come to their state. */
export async function settled(page: Page, there = ""): Promise<void> {
  await page.locator(`${there}[aria-busy=false]`).waitFor();
}
