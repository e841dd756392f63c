// Lists every message that a user can meet, by its code, in messages.txt beside this file: node scripts/messages.mjs
// [--write] Errors are found in the sources by the calls that make them; what a value is put in for stands in <>.
// Without --write the list only has to agree, so that each new message is read by a person once more, among its like.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";

const root = path.dirname(import.meta.dirname);
const list = path.join(import.meta.dirname, "messages.txt");

const quoted = (named) => (ts.isStringLiteralLike(named) ? [named.text] : ["<code>"]);
const mustBe = (fixed) => (name, allowed) =>
  allowed === undefined ? [] : texts(allowed).map((text) => [fixed, `"${texts(name)[0]}" must be ${text}`]);
const code = (named, message) => quoted(named).flatMap((each) => is(each)(message));
const is = (fixed) => (message) => (message === undefined ? [] : texts(message).map((text) => [fixed, text]));
const takes = (option, _, allowed) =>
  texts(allowed).map((text) => ["ERR_PINLESS_OPTION", `option ${texts(option)[0]} takes ${text}`]);
const second = (fixed) => (_, message) => is(fixed)(message);

/** Calls that make a message: their arguments to pairs of code and text. */
const MAKERS = new Map(
  Object.entries({
    "new PinlessError": code,
    "new BenchError": is("exit 1"),
    "new ReportError": code,
    "new JsonError": is("ERR (JSON)"),
    "new InputError": is("ERR_LAB_INPUT"),
    inputErrorAt: (_source, _path, message) => is("ERR_LAB_INPUT")(message),
    "new Unreachable": code,
    "new UsageError": is("exit 2"),
    "new JobError": is("exit 1"),
    located: second("exit 1"),
    "new InvalidArgumentError": is("exit 2"),
    "new Unavailable": is("skipped"),
    "new BadAnswer": is("EPROTO"),
    refuse: (_path, why) => is("exit 2")(why),
    argumentError: code,
    refuseIf: code,
    codedError: (error, name) => (ts.isNewExpression(error) ? code(name, error.arguments[0]) : []),
    systemError: (_describe, _errno, call) => texts(call).map((text) => ["errno", `<errno>: <text>, ${text}`]),
    lack: second("EMFILE, ENFILE, EAGAIN, ENOMEM"),
    throwIfNoDescriptor: second("EMFILE, ENFILE"),
    unsupported: is("ERR_PINLESS_UNSUPPORTED"),
    "#refuseFile": is("ERR_PINLESS_UNSUPPORTED"),
    badOption: takes,
    bad: takes,
    invalidState: is("ERR_INVALID_STATE"),
    invalidType: mustBe("ERR_INVALID_ARG_TYPE"),
    invalidValue: (name, _, why) => texts(why).map((text) => ["ERR_INVALID_ARG_VALUE", `"${texts(name)[0]}" ${text}`]),
    outOfRange: mustBe("ERR_OUT_OF_RANGE"),
    positionError: (allowed) => texts(allowed).map((text) => ["ERR_OUT_OF_RANGE", `"position" must be ${text}`]),
    note: second("stats().degraded"),
    "degraded.push": is("stats().degraded"),
    "#degraded.push": is("stats().degraded"),
    "host.degraded": is("stats().degraded"),
    "#host.degraded": is("stats().degraded"),
    "remarks.push": is("stats().degraded"),
    "missing.push": is("stats().degraded"),
    "command.error": is("exit 2"),
    complain: second("exit 1 or 2"),
  }),
);
/** Functions whose results are sentences for a user, by their names. */
const SENTENCES = /^(?:explain|why|mostly|refusal)[A-Z]?/;

const sources = ["pinless", "cli", "lab"].flatMap((name) => {
  const folder = path.join(root, "packages", name, "src");
  const files = readdirSync(folder, { recursive: true }).filter((file) => file.endsWith(".ts"));
  return files.sort().map((file) => {
    const at = path.join(folder, file);
    return { name, tree: ts.createSourceFile(at, readFileSync(at, "utf8"), ts.ScriptTarget.ES2022, true) };
  });
});

/**
 * Initializers of the constants that messages are put together from: by file and name, and by name what is in capitals.
 */
const constants = new Map();

function each(tree, visit) {
  const go = (child) => {
    visit(child);
    ts.forEachChild(child, go);
  };
  go(tree);
}

for (const { tree } of sources) {
  each(tree, (child) => {
    if (!ts.isVariableDeclaration(child) || !ts.isIdentifier(child.name) || child.initializer === undefined) return;
    const initializer = stripped(child.initializer);
    if (!texts(initializer).some((text) => text.includes(" "))) return;
    constants.set(`${tree.fileName} ${child.name.text}`, initializer);
    if (/^[A-Z_]+$/.test(child.name.text)) constants.set(child.name.text, initializer);
  });
}

function stripped(expression) {
  let inner = expression;
  while (ts.isParenthesizedExpression(inner) || ts.isAsExpression(inner) || ts.isNonNullExpression(inner))
    inner = inner.expression;
  return inner;
}

/** A value that is put into a message: by the last name in it. */
function value(expression) {
  const inner = stripped(expression);
  if (ts.isCallExpression(inner)) {
    const of = inner.arguments[0];
    if (of !== undefined && !ts.isStringLiteralLike(of) && !ts.isArrowFunction(of)) return value(of);
    return ts.isPropertyAccessExpression(inner.expression)
      ? value(inner.expression.expression)
      : `<${inner.expression.getText()}>`;
  }
  if (ts.isPropertyAccessExpression(inner)) return `<${inner.name.text.replace("#", "")}>`;
  if (ts.isIdentifier(inner)) return `<${inner.text}>`;
  if (ts.isElementAccessExpression(inner)) return value(inner.expression);
  return "<…>";
}

/** All texts that an expression can give. */
function texts(expression, depth = 0) {
  const inner = stripped(expression);
  if (ts.isStringLiteralLike(inner)) return [inner.text];
  if (ts.isConditionalExpression(inner)) return [...texts(inner.whenTrue, depth), ...texts(inner.whenFalse, depth)];
  if (ts.isBinaryExpression(inner) && inner.operatorToken.kind === ts.SyntaxKind.PlusToken)
    return joined([texts(inner.left, depth), texts(inner.right, depth)]);
  if (ts.isTemplateExpression(inner)) {
    const parts = inner.templateSpans.flatMap(({ expression: part, literal }) => [
      texts(part, depth + 1),
      [literal.text],
    ]);
    return joined([[inner.head.text], ...parts]);
  }
  if (inner.kind === ts.SyntaxKind.NullKeyword) return [];
  const constant = ts.isIdentifier(inner) && depth < 4 ? constantOf(inner) : undefined;
  return constant === undefined ? [value(inner)] : texts(constant, depth + 1);
}

/** Not where a parameter, or a variable of another function, has the name. */
function constantOf(name) {
  const of = name.getSourceFile();
  const found = constants.get(`${of.fileName} ${name.text}`);
  if (found === undefined) return constants.get(name.text);
  const scope = ts.findAncestor(found, (parent) => ts.isBlock(parent) || ts.isSourceFile(parent));
  return ts.findAncestor(name, (parent) => parent === scope) === undefined ? undefined : found;
}

function joined(parts) {
  return parts.reduce((all, some) => all.flatMap((head) => some.map((tail) => head + tail)).slice(0, 8), [""]);
}

function nameOf({ expression }) {
  if (ts.isIdentifier(expression)) return expression.text;
  if (!ts.isPropertyAccessExpression(expression)) return "";
  const of = expression.expression;
  const owner = ts.isPropertyAccessExpression(of) ? of.name.text : ts.isIdentifier(of) ? of.text : "";
  return owner === "" ? expression.name.text : `${owner}.${expression.name.text}`;
}

const messages = new Map();

function add(where, [kind, text]) {
  // A text of a single value is the message of whoever called.
  if (/^(?:<[^>]*>)?$/.test(text)) return;
  const key = `${where}: ${kind}`;
  messages.set(key, (messages.get(key) ?? new Set()).add(text.replace(/\s+/g, " ")));
}

for (const { name, tree } of sources) {
  each(tree, (child) => {
    if ((ts.isNewExpression(child) || ts.isCallExpression(child)) && child.arguments?.length > 0) {
      const maker = MAKERS.get(`${ts.isNewExpression(child) ? "new " : ""}${nameOf(child)}`);
      for (const message of maker?.(...child.arguments) ?? []) add(name, message);
    }
    if (!ts.isReturnStatement(child) || child.expression === undefined) return;
    const within = ts.findAncestor(child, (parent) => ts.isFunctionLike(parent));
    const called = within?.name?.getText().replace("#", "") ?? "";
    if (SENTENCES.test(called)) for (const text of texts(child.expression)) add(name, [`${called}()`, text]);
  });
}

const lines = [...messages].sort(([a], [b]) => (a < b ? -1 : 1));
const text = lines
  .map(
    ([key, all]) =>
      `${key}\n${[...all]
        .sort()
        .map((line) => `  ${line}\n`)
        .join("")}`,
  )
  .join("\n");
if (process.argv.includes("--write")) writeFileSync(list, text);
const known = readFileSync(list, "utf8").split("\n");
const found = text.split("\n");
for (const line of found) if (!known.includes(line)) console.error(`not in scripts/messages.txt: ${line.trim()}`);
for (const line of known) if (!found.includes(line)) console.error(`no message any more: ${line.trim()}`);
if (text !== known.join("\n")) {
  console.error("read the new messages among the others, then: node scripts/messages.mjs --write");
  process.exitCode = 1;
}
