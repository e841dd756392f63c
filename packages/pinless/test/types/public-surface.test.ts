// The members of what users get, by its declarations: what the protocol and the explorer need of it isn't among them.
import assert from "node:assert/strict";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const INDEX = fileURLToPath(new URL("../../dist/index.d.ts", import.meta.url));

const program = ts.createProgram([INDEX], {
  module: ts.ModuleKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
  strict: true,
});
const checker = program.getTypeChecker();

function exported(name: string): ts.Symbol {
  const module = checker.getSymbolAtLocation(program.getSourceFile(INDEX)!)!;
  const symbol = checker.getExportsOfModule(module).find((each) => each.name === name);
  assert.ok(symbol !== undefined, `${path.basename(INDEX)} exports no ${name}`);
  return origin(symbol);
}

/** Names of all that isn't private, without the brands of `#` members. */
function membersOf(name: string): string[] {
  const properties = checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(exported(name)));
  const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;
  const visible = properties.filter(({ valueDeclaration }) => {
    const flags = valueDeclaration === undefined ? 0 : ts.getCombinedModifierFlags(valueDeclaration);
    return (flags & hidden) === 0;
  });
  return visible
    .map((property) => property.name)
    .filter((member) => !/^(#|__)/.test(member))
    .sort();
}

test("MmuNotifier and Invalidation show only what programs call", () => {
  assert.deepEqual(membersOf("MmuNotifier"), ["inProgress", "invalidateRangeEnd", "invalidateRangeStart"]);
  assert.deepEqual(membersOf("Invalidation"), ["event", "range", "state"]);
});

test("Engine shows only what is documented, and can't be made by new", () => {
  const members = "arena attach close depth drained notifier openFile pin releasePins scheme stats";
  assert.deepEqual(membersOf("Engine"), members.split(" "));
  const [made] = checker.getSignaturesOfType(checker.getTypeOfSymbol(exported("Engine")), ts.SignatureKind.Construct);
  const flags = made?.declaration === undefined ? 0 : ts.getCombinedModifierFlags(made.declaration);
  assert.notEqual(flags & ts.ModifierFlags.Private, 0);
});

/** Declarations of ours that index.d.ts doesn't export, and that what it exports is made of. */
const PARTS = {
  "base classes, of which the members count": ["NodeFile", "PortableEngine", "StorageFile", "StreamedFile"],
  "base interfaces of options": ["StreamOptions", "TransferOptions"],
  "names for a union": ["Data", "INVARIANTS", "Invariant", "MMU_EVENTS", "Position"],
};

/** The symbol itself, for one that is imported or exported under a name. */
function origin(symbol: ts.Symbol): ts.Symbol {
  return (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol);
}

/** Declarations at the top of a file of the package. */
function isOurs({ declarations = [] }: ts.Symbol): boolean {
  return declarations.some((each) => {
    const statement = ts.isVariableDeclaration(each) ? each.parent.parent : each;
    return ts.isSourceFile(statement.parent) && statement.parent.fileName.startsWith(path.dirname(INDEX));
  });
}

test("the declarations of users are made of what index.d.ts exports, with few parts more and nothing protected", () => {
  const module = checker.getSymbolAtLocation(program.getSourceFile(INDEX)!)!;
  const exports = checker.getExportsOfModule(module).map(origin);
  const reached = new Set(exports);
  const hidden: string[] = [];
  const visit = (node: ts.Node): void => {
    const symbol = ts.isIdentifier(node) ? checker.getSymbolAtLocation(node) : undefined;
    if (symbol !== undefined && isOurs(origin(symbol))) reached.add(origin(symbol));
    if (node.kind === ts.SyntaxKind.ProtectedKeyword) hidden.push(node.parent.getText());
    ts.forEachChild(node, visit);
  };
  for (const symbol of reached) for (const declaration of symbol.declarations ?? []) visit(declaration);
  const parts = [...reached].filter((each) => !exports.includes(each)).map((each) => each.name);
  assert.deepEqual(parts.sort(), Object.values(PARTS).flat().sort());
  assert.deepEqual(hidden, []);
});
