// The view "Traces" in a real browser: a counterexample, lanes, files that are none, both themes, the keyboard.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { simulate } from "../../dist/simulate/run-simulation.js";
import { axeFindings, complaintsOf, NO_BROWSER, type Served, servePage, startBrowser } from "./browser.js";

const SHIPPED = path.join(import.meta.dirname, "../../page/traces/shipped");
const MIB = 1 << 20;

describe("the view Traces", { skip: NO_BROWSER }, () => {
  let browser: Browser;
  let served: Served;
  before(async () => {
    [browser, served] = await Promise.all([startBrowser(), servePage()]);
  });
  after(async () => {
    await browser?.close();
    await served?.stop();
  });

  async function open(hash: string, options: Parameters<Browser["newPage"]>[0] = {}): Promise<Page> {
    const page = await browser.newPage(options);
    page.setDefaultTimeout(60_000);
    await page.goto(served.url + hash);
    return page;
  }

  const pick = (page: Page, file: string): Promise<void> => page.locator("input[type=file]").setInputFiles(file);
  const said = (page: Page): Promise<string> => page.getByRole("alert").innerText();

  for (const colorScheme of ["light", "dark"] as const)
    for (const width of [360, 2560])
      test(`${colorScheme}, ${width} pixels wide: a counterexample is shown, and axe finds nothing`, async () => {
        const page = await open("#traces", { colorScheme, viewport: { width, height: 900 } });
        const complaints = complaintsOf(page, served.url);
        await page.locator("select").selectOption("no-hold");
        await page.getByRole("button", { name: "To the step that breaks EXCLUSION" }).click();
        await page.locator("[data-violated=EXCLUSION]").waitFor();
        const broken = await page.locator("[data-violated]").innerText();
        assert.match(broken, /between an invalidation's start and end no request that it concerns is in flight/);
        assert.equal(await page.locator(".broken [aria-current=step]").count(), 1);
        assert.deepEqual(await axeFindings(page), []);
        const wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
        assert.ok((wide as number) <= 0, `${wide} pixels too wide`);
        assert.deepEqual(complaints, []);
        await page.close();
      });

  test("a link has the trace and the step, and the keyboard alone goes through it", async () => {
    const page = await open("#traces?trace=no-drain-mark&step=2");
    const current = page.locator("[aria-current=step] .number");
    await current.getByText("2", { exact: true }).waitFor();
    const next = page.getByRole("button", { name: "Next" });
    for (let tabs = 0; !(await next.evaluate((element) => element.matches(":focus"))); tabs++) {
      assert.ok(tabs < 40, "Tab doesn't reach Next");
      await page.keyboard.press("Tab");
    }
    await page.keyboard.press("Enter");
    await current.getByText("3", { exact: true }).waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("ArrowRight");
    await current.getByText("4", { exact: true }).waitFor();
    assert.match(page.url(), /step=4/);
    await page.close();
  });

  test("the lanes of a simulation lead from a step to the one that led to it", async (t) => {
    const file = path.join(scratchDirectory(t), "run.json");
    let text = "";
    const lanes = (more: string): void => {
      text += more;
    };
    await simulate({ seed: 20, requests: 300, lanes });
    writeFileSync(file, text);
    const page = await open("#traces");
    await pick(page, file);
    await page.getByText(/events in \d groups of lanes/).waitFor();
    const events = JSON.parse(text) as { ph: string; name: string }[];
    const steps = events.filter(({ ph }) => ph !== "M" && ph !== "s" && ph !== "f");
    const flow = events.findIndex(({ ph, name }) => ph === "f" && name === "waits for I/O");
    assert.ok(flow > 0);
    const at = events.slice(0, flow).filter((event) => steps.includes(event)).length;
    await page.goto(`${served.url}#traces?step=${at + 1}`);
    await page
      .getByRole("button", { name: /^step .*, which waits for I\/O/ })
      .first()
      .click();
    await page
      .locator("[aria-current=step]")
      .getByText(/invalidations:/)
      .waitFor();
    const shown = await page.locator("[data-figure=step]").innerText();
    assert.equal(shown.split(" of ")[1], steps.length.toLocaleString("en-US"));
    await page.close();
  });

  test("broken, foreign, newer and huge files are refused with a reason, and the trace before stays", async (t) => {
    const directory = scratchDirectory(t);
    const page = await open("#traces?trace=no-hold");
    await page.locator("[aria-current=step]").waitFor();
    const title = await page.locator("h2").first().innerText();
    const write = (name: string, text: string): string => {
      writeFileSync(path.join(directory, name), text);
      return path.join(directory, name);
    };
    const own = readFileSync(path.join(SHIPPED, "no-hold.itf.json"), "utf8");
    const cases: [string, RegExp][] = [
      [write("broken.json", own.slice(0, -20)), /broken\.json: this isn't JSON, or it's broken/],
      [write("foreign.json", '{"a":1}'), /foreign\.json: this is JSON, but neither/],
      [write("newer.json", own.replace("pinless-trace/1", "pinless-trace/9")), /newer\.json: .*"pinless-trace\/9"/],
      [write("empty.json", ""), /empty\.json: the file is empty/],
    ];
    for (const [file, message] of cases) {
      await pick(page, file);
      await page.getByRole("alert").getByText(message).waitFor();
      assert.equal(await page.locator("h2").first().innerText(), title);
    }
    // Playwright hands over no file of that size.
    await page.evaluate(`(() => {
      const blob = new Blob(Array.from({ length: 500 }, () => new Uint8Array(${MIB})));
      const data = new DataTransfer();
      data.items.add(new File([blob], "huge.json"));
      document.querySelector(".drop").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
    })()`);
    await page
      .getByRole("alert")
      .getByText(/huge\.json: the file has 500 MiB/)
      .waitFor();
    assert.match(await said(page), /open it in Perfetto/);
    await page.getByRole("button", { name: "Next" }).click();
    await page.locator("[aria-current=step] .number").getByText("2", { exact: true }).waitFor();
    await page.close();
  });
});
