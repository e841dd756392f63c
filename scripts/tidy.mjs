// Holds the limits of STYLE.md that neither Biome nor the compiler knows: node scripts/tidy.mjs [--lower] [root of a
// repository]. Whatever goes past a limit is named in tidy-exceptions.json, with the number of places in that file and
// the reason. A number may only fall: more places are an error, and so is an exception that allows more than there are.
// --lower writes the lower numbers into the list.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";

const MAX_COLUMNS = 120;
const MAX_FUNCTION_LINES = 70;
const MAX_FILE_LINES = 400;
/** A docstring that begins with one of these describes around its subject instead of naming it. */
const NO_FIRST_WORD = /^(?:what|who|whom|where|when|how)(?:ever)?$|^(?:whether|whose|which|why|of)$/i;

const root = process.argv.slice(2).find((arg) => !arg.startsWith("--")) ?? path.dirname(import.meta.dirname);
const listed = path.join(root, "scripts", "tidy-exceptions.json");

/** Places that break a rule, by rule and file (or name), with a line of text for each. */
const found = new Map();

function report(rule, where, what) {
  const places = found.get(`${rule} ${where}`) ?? [];
  found.set(`${rule} ${where}`, [...places, what]);
}

function files(folder, extensions) {
  const names = readdirSync(path.join(root, folder), { recursive: true }).map((name) => path.join(folder, name));
  return names
    .filter((name) => extensions.test(name) && !/(^|\/)(node_modules|dist|dist-test|dist-mutants)\//.test(name))
    .sort();
}

function lengths(file, text) {
  const lines = text.split("\n");
  for (const [at, line] of lines.entries()) {
    if ([...line].length > MAX_COLUMNS) report("line", file, `line ${at + 1} has ${[...line].length} columns`);
  }
  if (lines.length - 1 > MAX_FILE_LINES) report("file", file, `${lines.length - 1} lines`);
}

function words(file, comment, line) {
  const first = /[\p{L}\d`'’-]+/u.exec(comment.replace(/^\/(\*+|\/+)/, ""))?.[0] ?? "";
  if (NO_FIRST_WORD.test(first)) report("docstring", file, `line ${line} begins with "${first}"`);
}

/** Exported classes and their files, by name. */
const classes = new Map();

/** Checks the first words of a file's header and docstrings, and calls `look` for each node. */
function documentation(file, text, look) {
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true);
  const lineOf = (position) => tree.getLineAndCharacterOfPosition(position).line + 1;
  const header = ts.getLeadingCommentRanges(text, text.startsWith("#!") ? text.indexOf("\n") : 0)?.[0];
  if (header && text[header.pos + 2] !== "*") words(file, text.slice(header.pos, header.end), lineOf(header.pos));
  const visit = (node) => {
    for (const comment of node.jsDoc ?? []) words(file, comment.getText(), lineOf(comment.pos));
    look(node, lineOf);
    ts.forEachChild(node, visit);
  };
  visit(tree);
}

function source(file, text) {
  documentation(file, text, (node, lineOf) => {
    const lines = lineOf(node.end) - lineOf(node.getStart()) + 1;
    if (ts.isFunctionLike(node) && node.body && lines > MAX_FUNCTION_LINES) {
      report("function", file, `line ${lineOf(node.getStart())}: a function of ${lines} lines`);
    }
    if (ts.isClassDeclaration(node) && node.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) {
      classes.set(node.name.text, [...(classes.get(node.name.text) ?? []), file]);
    }
  });
}

const rooms = ["pinless/src", "cli/src", "lab/src", "lab/mutants", "lab/page"];
const sources = rooms.flatMap((room) => files(`packages/${room}`, /\.tsx?$/));
const programs = existsSync(path.join(root, "examples")) ? files("examples", /\.ts$/) : [];
const others = [
  ...programs,
  ...["pinless", "cli", "lab"].flatMap((name) => files(`packages/${name}/test`, /\.ts$/)),
  ...["benchmarks", "scripts"].flatMap((folder) => files(folder, /\.(mjs|sh|c)$/)),
];

const names = new Map();
for (const file of sources) {
  const text = readFileSync(path.join(root, file), "utf8");
  lengths(file, text);
  source(file, text);
  names.set(path.basename(file), [...(names.get(path.basename(file)) ?? []), file]);
}
for (const file of others) {
  const text = readFileSync(path.join(root, file), "utf8");
  lengths(file, text);
  if (/\.(ts|mjs)$/.test(file)) documentation(file, text, () => {});
}
for (const [name, all] of names) if (all.length > 1) report("file name", name, all.join(", "));
for (const [name, all] of classes) if (all.length > 1) report("class name", name, all.join(", "));

const exceptions = JSON.parse(readFileSync(listed, "utf8"));
const allowed = new Map(exceptions.map((exception) => [`${exception.rule} ${exception.where}`, exception]));
let errors = 0;

function error(text) {
  errors++;
  console.error(text);
}

for (const [key, places] of found) {
  const count = allowed.get(key)?.count ?? 0;
  if (places.length <= count) continue;
  error(`${key}: ${places.length}, of which ${count} are allowed by scripts/tidy-exceptions.json`);
  for (const place of places) console.error(`  ${place}`);
}

if (process.argv.includes("--lower")) {
  const lines = exceptions.flatMap((each) => {
    const count = Math.min(each.count, found.get(`${each.rule} ${each.where}`)?.length ?? 0);
    return count > 0 ? [`  ${JSON.stringify({ ...each, count }, null, 1).replace(/\n */g, " ")}`] : [];
  });
  writeFileSync(listed, lines.length > 0 ? `[\n${lines.join(",\n")}\n]\n` : "[]\n");
} else {
  for (const [key, { count }] of allowed) {
    const is = found.get(key)?.length ?? 0;
    if (is < count) error(`${key}: ${count} are allowed, and there are ${is} now: npm run tidy -- --lower`);
  }
}
process.exitCode = errors > 0 ? 1 : 0;
