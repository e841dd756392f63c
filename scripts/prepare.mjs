// npm runs this after `npm install` and `npm ci` at the root of a clone, and before it packs what others install from git.
// Builds, and links the command to where npx looks first: dist/ isn't in the repository, and what npx finds in its cache may be older.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";

const root = path.dirname(import.meta.dirname);
const bin = path.join(root, "node_modules", ".bin");

if (existsSync(path.join(bin, "tsc"))) {
  // To the standard error: the output of npm pack --json is read by programs.
  const { status } = spawnSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: ["ignore", 2, 2] });
  if (status !== 0) process.exit(status ?? 1);
  const link = path.join(bin, "pinless");
  mkdirSync(bin, { recursive: true });
  rmSync(link, { force: true });
  symlinkSync("../../dist/cli/main.js", link);
} else
  console.error("pinless isn't built: there's no typescript here (npm install --omit=dev); npm run build makes dist/");
