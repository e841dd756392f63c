// Text output fits into a terminal of 80 columns, and has that width without a terminal too.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runCommand } from "../../../pinless/dist-test/support/children.js";
import { renderGrid } from "../../dist/command/grid.js";

function fits(text: string, what: string): void {
  for (const line of text.split("\n")) assert.ok([...line].length <= 80, `${what}: ${line}`);
}

test("the help of every command, and its output, have lines of at most 80 columns", async () => {
  const helps = ["bench", "doctor", "release", "top"].map((command) => [command, "--help"]);
  for (const args of [["--help"], ...helps, ["doctor"]]) {
    const { code, stdout, stderr } = await runCommand(args);
    assert.deepEqual([code, stderr], [0, ""], args.join(" "));
    fits(stdout, args.join(" "));
  }
});

test("a table that is wider than the terminal goes on below, and leaves nothing out", () => {
  const columns = Array.from({ length: 12 }, (_, i) => `column ${i}`);
  const cells = columns.map((column) => `of ${column}`);
  const rows = ["first", "second with a longer name"].map((name) => ({ name, cells }));
  const lines = renderGrid({ title: "Wide", columns, rows }, { columns: 80, colors: false, charts: false });
  fits(lines.join("\n"), "grid");
  const words = `${lines.join("\n")} `.replace(/\s+/g, " ");
  for (const column of columns) assert.equal(words.split(`of ${column} `).length, 3, column);
  assert.equal(words.split("second with a longer name").length, lines.filter((line) => line === "").length + 2);
});
