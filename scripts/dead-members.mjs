// Finds class members, and keys of the constant tables of modules, that no code of `src` reads: Knip looks at exports
// only. A member is read where the compiler resolves a name to it, other than to write it; or where a type that it
// serves under (an interface, a base class, Node's own types) has a member of that name which is read, or isn't ours.
// Users read what they may call: the classes that a package's entry points export.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";

/** Members that nothing reads on purpose: the reason each. By "Class.member" or "CONSTANT.key". */
const KEPT = {
  "ModelFile.content": "what the conformance tests find in a file when they're done",
  "MmuNotifier.inProgress": "programs read it (public-notifier.ts)",
  "ModelFile.settle": "makes a file that was written long ago, for tests",
};

/** The entry points that users import; others are for our own packages, whose sources are read here. */
const FOR_USERS = ["pinless", "pinless/fs"];

const root = process.argv[2] ?? process.cwd();
const packages = existsSync(path.join(root, "packages"))
  ? readdirSync(path.join(root, "packages")).map((name) => path.join(root, "packages", name))
  : [root];

/** The sources that a package's entry points were built from, by the names that they're imported by. */
function entriesOf(folder) {
  const { name, exports = {} } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
  const entries = {};
  for (const [subpath, target] of Object.entries(exports)) {
    const built = typeof target === "string" ? target : target.default;
    if (!built?.startsWith("./dist/")) continue;
    const source = path.join(folder, built.replace("./dist/", "src/").replace(/\.js$/, ".ts"));
    entries[path.posix.join(name, subpath)] = [source];
  }
  return entries;
}

const entries = Object.assign({}, ...packages.map(entriesOf));
const sources = packages.flatMap((folder) =>
  ["src", "page"].flatMap((name) => ts.sys.readDirectory(path.join(folder, name), [".ts", ".tsx"])),
);
const { config } = ts.readConfigFile(path.join(root, "tsconfig.json"), ts.sys.readFile);
const { options } = ts.parseJsonConfigFileContent({ ...config, files: [], include: undefined }, ts.sys, root);
// Packages import each other's sources here, not what was built of them.
const program = ts.createProgram(sources, {
  ...options,
  // For the lab's page.
  jsx: ts.JsxEmit.ReactJSX,
  jsxImportSource: "preact",
  lib: [...(options.lib ?? []), "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
  paths: entries,
  composite: false,
  incremental: false,
  noEmit: true,
  rootDir: root,
});
const checker = program.getTypeChecker();
const files = program.getSourceFiles().filter(({ fileName }) => sources.includes(fileName));

/** Symbols that are read, and by their names those of them that are members of types. */
const read = new Set();
const readByName = new Map();
/** Tables whose keys are the words of a type (`keyof typeof TABLE`), and all words that are in the code. */
const vocabularies = new Set();
const words = new Set();
/** Classes by those that they extend. */
const extending = new Map();

function note(symbol) {
  if (symbol === undefined || read.has(symbol)) return;
  read.add(symbol);
  // A property of a union, of a mapped type, of an instance of what is generic: it stands for those that were declared.
  for (const declaration of symbol.declarations ?? []) {
    note(declaration.symbol);
    if (!readByName.has(symbol.name)) readByName.set(symbol.name, new Set());
    readByName.get(symbol.name).add(declaration.parent);
  }
}

const noteNamed = (type, name) => note(checker.getPropertyOfType(checker.getApparentType(type), name));

function noteAll(type) {
  for (const property of checker.getPropertiesOfType(type)) note(property);
}

/** `x.a = …` reads nothing, nor do `x.a++` and `x.a += …` as statements. */
function isOnlyWritten(access) {
  const { parent } = access;
  const isStatement = ts.isExpressionStatement(parent.parent);
  if (ts.isPostfixUnaryExpression(parent) || ts.isPrefixUnaryExpression(parent))
    return isStatement && parent.operator !== ts.SyntaxKind.ExclamationToken;
  if (!ts.isBinaryExpression(parent) || parent.left !== access) return false;
  const { kind } = parent.operatorToken;
  if (kind === ts.SyntaxKind.EqualsToken) return true;
  return isStatement && kind >= ts.SyntaxKind.FirstCompoundAssignment && kind <= ts.SyntaxKind.LastCompoundAssignment;
}

function noteElement({ expression, argumentExpression }) {
  const of = checker.getTypeAtLocation(expression);
  const key = checker.getTypeAtLocation(argumentExpression);
  const keys = key.isUnion() ? key.types : [key];
  if (keys.every((each) => each.isStringLiteral())) for (const { value } of keys) noteNamed(of, value);
  else if ((key.flags & ts.TypeFlags.NumberLike) === 0) noteAll(of);
}

/** A constant table, or a part of one, that isn't asked for one of its keys here: any of them may be read then. */
function noteWhole(node) {
  const isAskedForKey =
    (ts.isPropertyAccessExpression(node.parent) || ts.isElementAccessExpression(node.parent)) &&
    node.parent.expression === node;
  if (isAskedForKey || ts.isTypeQueryNode(node.parent) || ts.isVariableDeclaration(node.parent)) return;
  const symbol = checker.getSymbolAtLocation(ts.isPropertyAccessExpression(node) ? node.name : node);
  const { valueDeclaration } = aliased(symbol) ?? {};
  if (valueDeclaration !== undefined) noteKeys(tableIn(valueDeclaration.initializer));
}

function aliased(symbol) {
  return symbol !== undefined && symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

function noteKeys(table) {
  for (const { symbol, initializer } of table?.properties ?? []) {
    note(symbol);
    noteKeys(tableIn(initializer));
  }
}

/** The object literal that an expression is, `as const` and the like left aside. */
function tableIn(expression) {
  if (expression === undefined) return undefined;
  if (ts.isAsExpression(expression) || ts.isSatisfiesExpression(expression)) return tableIn(expression.expression);
  return ts.isObjectLiteralExpression(expression) ? expression : undefined;
}

function noteExtended(declaration) {
  for (const { token, types } of declaration.heritageClauses ?? []) {
    if (token !== ts.SyntaxKind.ExtendsKeyword) continue;
    const base = aliased(checker.getSymbolAtLocation(types[0].expression));
    extending.set(base, [...(extending.get(base) ?? []), declaration]);
  }
}

function visit(node) {
  if (ts.isClassLike(node)) noteExtended(node);
  if (ts.isPropertyAccessExpression(node)) {
    if (!isOnlyWritten(node)) note(checker.getSymbolAtLocation(node.name));
    noteWhole(node);
  } else if (ts.isElementAccessExpression(node)) {
    if (!isOnlyWritten(node)) noteElement(node);
  } else if (ts.isObjectBindingPattern(node)) {
    const of = checker.getTypeAtLocation(node);
    for (const { propertyName, name, dotDotDotToken } of node.elements) {
      const key = propertyName ?? name;
      if (dotDotDotToken !== undefined || ts.isComputedPropertyName(key)) noteAll(of);
      else noteNamed(of, key.text);
    }
  } else if (ts.isTypeOperatorNode(node) && ts.isTypeQueryNode(node.type)) {
    const { valueDeclaration } = aliased(checker.getSymbolAtLocation(node.type.exprName)) ?? {};
    if (valueDeclaration !== undefined) vocabularies.add(tableIn(valueDeclaration.initializer));
  } else if (ts.isStringLiteralLike(node)) {
    words.add(node.text);
  } else if (ts.isIdentifier(node) && !ts.isImportSpecifier(node.parent) && !ts.isExportSpecifier(node.parent)) {
    noteWhole(node);
  }
  ts.forEachChild(node, visit);
}

/** Members of a class that have a name and can be asked for. */
function membersOf(declaration) {
  const fields = declaration.members.filter(
    (member) => member.name !== undefined && !ts.isComputedPropertyName(member.name),
  );
  const made = declaration.members.find(ts.isConstructorDeclaration);
  return [...fields, ...(made?.parameters ?? []).filter((p) => ts.isParameterPropertyDeclaration(p, made))];
}

/** True if a class, or one that extends it, has the member for another type, whose member is read or isn't ours. */
function servesAnother(declaration, member) {
  if (serves(declaration, member)) return true;
  return (extending.get(declaration.symbol) ?? []).some((other) => servesAnother(other, member));
}

function serves(declaration, { symbol, name }) {
  const type = checker.getTypeAtLocation(declaration);
  for (const clause of declaration.heritageClauses ?? [])
    for (const each of clause.types) {
      const property = checker.getPropertyOfType(checker.getTypeAtLocation(each), name.text);
      if (property !== undefined && !property.declarations?.some((d) => sources.includes(d.getSourceFile().fileName)))
        return true;
    }
  for (const other of readByName.get(symbol.name) ?? []) {
    if (other === declaration) continue;
    const isType = ts.isInterfaceDeclaration(other) || ts.isClassLike(other) || ts.isTypeLiteralNode(other);
    // What is generic is assigned to only as one of its instances.
    if (
      isType &&
      (other.typeParameters !== undefined || checker.isTypeAssignableTo(type, checker.getTypeAtLocation(other)))
    )
      return true;
  }
  return false;
}

/** Classes that users have: they read all that isn't private. */
function noteWhatUsersHave() {
  for (const [name, [file]] of Object.entries(entries)) {
    if (!FOR_USERS.includes(name)) continue;
    const source = program.getSourceFile(file);
    for (const exported of source === undefined ? [] : checker.getExportsOfModule(source.symbol)) {
      const symbol = aliased(exported);
      for (const declaration of symbol.declarations ?? []) {
        if (ts.isVariableDeclaration(declaration)) noteKeys(tableIn(declaration.initializer));
        if (!ts.isClassDeclaration(declaration)) continue;
        const types = [checker.getTypeAtLocation(declaration), checker.getTypeOfSymbol(symbol)];
        for (const type of types)
          for (const property of checker.getPropertiesOfType(type)) if (isForUsers(property)) note(property);
      }
    }
  }
}

function isForUsers({ valueDeclaration: declaration }) {
  if (declaration === undefined || (declaration.name !== undefined && ts.isPrivateIdentifier(declaration.name)))
    return false;
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
  return (
    (ts.getCombinedModifierFlags(declaration) & hidden) === 0 &&
    !ts.getJSDocTags(declaration).some(({ tagName }) => tagName.text === "internal")
  );
}

const dead = [];

function report(node, name, symbol) {
  if (read.has(symbol)) return;
  const source = node.getSourceFile();
  const { line } = source.getLineAndCharacterOfPosition(node.getStart());
  dead.push({ name, at: `${path.relative(root, source.fileName)}:${line + 1}` });
}

function reportKeys(table, owner) {
  for (const key of table.properties) {
    if (key.name === undefined || ts.isComputedPropertyName(key.name)) continue;
    const name = `${owner}.${key.name.text}`;
    if (vocabularies.has(table) && words.has(key.name.text)) continue;
    report(key, name, key.symbol);
    const inner = tableIn(key.initializer);
    if (inner !== undefined && read.has(key.symbol)) reportKeys(inner, name);
  }
}

function look(node, isOutermost) {
  if (ts.isClassLike(node)) {
    for (const member of membersOf(node))
      if (!read.has(member.symbol) && !servesAnother(node, member))
        report(member, `${node.name?.text}.${member.name.text}`, member.symbol);
  } else if (isOutermost && ts.isVariableDeclaration(node) && node.type === undefined) {
    const table = tableIn(node.initializer);
    if (table !== undefined) reportKeys(table, node.name.text);
  }
  ts.forEachChild(node, (child) => look(child, isOutermost && !ts.isFunctionLike(child) && !ts.isClassLike(child)));
}

for (const file of files) visit(file);
noteWhatUsersHave();
for (const file of files) look(file, true);

const unexpected = dead.filter(({ name }) => KEPT[name] === undefined);
const stale = Object.keys(KEPT).filter((name) => !dead.some((each) => each.name === name));
for (const { name, at } of unexpected) console.error(`${at}: nothing in src reads ${name}`);
for (const name of stale)
  console.error(`scripts/dead-members.mjs: ${name} is read now, or gone: take it off the list of exceptions`);
if (unexpected.length + stale.length > 0) process.exit(1);
