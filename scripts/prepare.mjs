// Builds dist/, which isn't in the repository: npm runs this after `npm install` and `npm ci` at the root of a clone.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";

const root = path.dirname(import.meta.dirname);

if (existsSync(path.join(root, "node_modules", ".bin", "tsc"))) {
  // To the standard error: the output of npm pack --json is read by programs.
  const { status } = spawnSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: ["ignore", 2, 2] });
  process.exitCode = status ?? 1;
} else {
  console.error("pinless isn't built: there's no typescript here (npm install --omit=dev); npm run build makes dist/");
}
