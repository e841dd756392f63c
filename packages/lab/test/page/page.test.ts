// The lab's page in a real browser: scenes and the machine, both themes, by keyboard alone, and as static files.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { axeFindings, complaintsOf, NO_BROWSER, type Served, servePage, settled, startBrowser } from "./browser.js";

const LAB = path.join(import.meta.dirname, "../../dist/main.js");
const PAGE = path.join(import.meta.dirname, "../../dist/page");
const SEED = 5;

/** A round of compaction in the report of `simulate scene`. */
interface Round {
  readonly moved: number;
  readonly refused: { readonly pinned: number; readonly leased: number; readonly inFlight: number };
  readonly freeHugePages: number;
}

interface Report {
  readonly machines: readonly { readonly design: string; readonly rounds: readonly Round[] }[];
}

/** Figures of a machine's table, by name. */
async function figures(page: Page, within = "main"): Promise<Record<string, string>> {
  const cells = await page.locator(`${within} [data-figure]`).all();
  const entries = cells.map(async (cell) => [await cell.getAttribute("data-figure"), await cell.innerText()] as const);
  return Object.fromEntries(await Promise.all(entries));
}

const number = (text: string | undefined): number => Number((text ?? "").replaceAll(",", ""));

/** Figures of compaction on the page: pages moved so far, and the last round's others. */
async function roundOn(page: Page, design: string): Promise<Round> {
  const shown = await figures(page, `[data-design=${design}]`);
  const [moved, pinned, leased] = [number(shown.moved), number(shown.pinned), number(shown.leased)];
  const refused = { pinned, leased, inFlight: number(shown["in-flight"]) };
  return { moved, refused, freeHugePages: number(shown["free-huge-pages"]) };
}

describe("the page", { skip: NO_BROWSER }, () => {
  let browser: Browser;
  let served: Served;
  before(async () => {
    [browser, served] = await Promise.all([startBrowser(), servePage()]);
  });
  after(async () => {
    await browser?.close();
    await served?.stop();
  });

  async function open(hash: string, options: Parameters<Browser["newPage"]>[0] = {}, url = served.url): Promise<Page> {
    const page = await browser.newPage(options);
    page.setDefaultTimeout(60_000);
    await page.goto(url + hash);
    await settled(page);
    return page;
  }

  test("a visit that compacts on both machines finds the numbers that the command line gives", async () => {
    const page = await open(`#scenes?seed=${SEED}`);
    const complaints = complaintsOf(page, served.url);
    await page.getByRole("button", { name: "Let it read" }).click();
    const rounds: Record<string, Round[]> = { pins: [], leases: [] };
    for (const [i, button] of ["Compact memory", "Compact again"].entries()) {
      await page.getByRole("button", { name: button }).click();
      await settled(page, `[data-step="${i + 3}"]`);
      for (const design of ["pins", "leases"]) rounds[design]!.push(await roundOn(page, design));
    }
    await page.getByRole("button", { name: "See the finding" }).click();
    await settled(page, '[data-step="5"]');
    const args = [LAB, "simulate", "scene", "compact", "--seed", String(SEED), "--json", "-"];
    const { stdout } = spawnSync(process.execPath, args, { encoding: "utf8" });
    const { machines } = JSON.parse(stdout) as Report;
    for (const { design, rounds: given } of machines) {
      const moved = given.reduce((sum, round) => sum + round.moved, 0);
      assert.deepEqual(rounds[design], [given[0], { ...given.at(-1), moved }]);
    }
    const [refused] = machines.map((machine) => machine.rounds.at(-1)!.refused.pinned);
    const finding = await page.locator(".finding").innerText();
    assert.match(finding, /A pinned page can't move, because a disk has been promised its place/);
    assert.ok(finding.includes(`${refused!.toLocaleString("en-US")} pages`), finding);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  for (const [colorScheme, width] of [
    ["light", 360],
    ["dark", 2560],
  ] as const)
    test(`${colorScheme}, ${width} pixels wide: axe finds nothing, and nothing is wider than the page`, async () => {
      const page = await open("#scenes", { colorScheme, viewport: { width, height: 900 } });
      const complaints = complaintsOf(page, served.url);
      for (const [hash, there] of [
        ["#scenes?step=3", '[data-step="3"]'],
        ["#scenes?step=5", '[data-step="5"]'],
        ["#machine?did=read.t20.compact", ".machine"],
      ] as const) {
        await page.goto(served.url + hash);
        await settled(page, there);
        assert.deepEqual(await axeFindings(page), [], hash);
        const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
        assert.ok((wide as number) <= 0, `${hash} is ${wide} pixels too wide`);
      }
      assert.deepEqual(complaints, []);
      await page.close();
    });

  test("the keyboard alone goes through the scene, to the machine, and presses its buttons", async () => {
    const page = await open("#scenes");
    const press = async (name: string, there: string): Promise<void> => {
      const button = page.getByRole("button", { name, exact: true });
      for (let tabs = 0; !(await button.evaluate((element) => element.matches(":focus"))); tabs++) {
        assert.ok(tabs < 40, `Tab doesn't reach ${name}`);
        await page.keyboard.press("Tab");
      }
      await page.keyboard.press("Enter");
      await settled(page, there);
    };
    for (const [i, name] of ["Let it read", "Compact memory", "Compact again", "See the finding"].entries())
      await press(name, `[data-step="${i + 2}"]`);
    await press("Go to the machine", ".machine");
    await press("Step 1 ms", ".machine");
    await press("Compact", ".machine");
    await page.getByRole("log").getByText("Compact: ").waitFor();
    await page.close();
  });

  test("a machine plays, pauses, and is the same again by its link", async () => {
    const page = await open("#machine?design=leases&seed=3");
    await page.getByRole("button", { name: "Play" }).click();
    for (const name of ["Compact", "Fork", "Discard", "Page out", "Collapse"]) {
      await page.getByRole("button", { name, exact: true }).click();
      await page.getByRole("log").getByText(`${name}: `).first().waitFor();
    }
    await page.getByRole("button", { name: "Pause" }).click();
    await page.waitForURL(/did=.*collapse/);
    await page.getByRole("button", { name: "Step 1 ms" }).click();
    const again = await open(new URL(page.url()).hash);
    await again.getByRole("log").getByText("Collapse: ").first().waitFor();
    const time = await again.locator("[data-figure=now]").innerText();
    await page.locator("[data-figure=now]").getByText(time, { exact: true }).waitFor();
    assert.deepEqual(await figures(again), await figures(page));
    await page.close();
    await again.close();
  });

  test("without its server the page goes on: the model runs in the browser", async () => {
    const own = await servePage();
    const page = await open("#scenes", {}, own.url);
    await own.stop();
    await page.getByRole("button", { name: "Let it read" }).click();
    await page.getByRole("button", { name: "Compact memory" }).click();
    await settled(page, '[data-step="3"]');
    assert.ok((await roundOn(page, "pins")).moved > 0);
    await page.close();
  });

  test("as static files of any web server, without a token or headers", async (t) => {
    const types: Record<string, string> = { ".js": "text/javascript", ".css": "text/css", ".html": "text/html" };
    const files = createServer((request, response) => {
      const name = path.basename(request.url === "/" ? "/index.html" : (request.url ?? ""));
      response.writeHead(200, { "Content-Type": types[path.extname(name)] ?? "" });
      response.end(readFileSync(path.join(PAGE, name)));
    });
    files.listen(0, "127.0.0.1");
    t.after(() => files.close());
    await new Promise((resolve) => files.once("listening", resolve));
    const url = `http://127.0.0.1:${(files.address() as AddressInfo).port}/`;
    const page = await open("#scenes?step=3", {}, url);
    assert.ok((await roundOn(page, "leases")).moved > 0);
    await page.close();
    files.closeAllConnections();
  });
});
