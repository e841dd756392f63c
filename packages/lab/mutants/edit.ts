/** Makes a mutant's edits, by the structure of the source, and compiles what comes of them. */

import { readFileSync } from "node:fs";
import ts from "typescript";
import type { Edit, Mutant } from "./mutant.js";

const PACKAGES = new URL("../../", import.meta.url);

const sources = new Map<string, ts.SourceFile>();

function sourceOf(file: string): ts.SourceFile {
  const known = sources.get(file);
  if (known !== undefined) return known;
  const source = ts.createSourceFile(file, readFileSync(new URL(file, PACKAGES), "utf8"), ts.ScriptTarget.Latest, true);
  sources.set(file, source);
  return source;
}

/** The TypeScript of the mutant's file with its edits in it. Throws if one doesn't fit exactly one node. */
function edited(mutant: Mutant): string {
  const source = sourceOf(mutant.file);
  const edits = mutant.also === undefined ? [mutant] : [mutant, mutant.also];
  const locations = edits.map((edit) => ({ node: locationOf(source, mutant.name, edit), to: edit.to ?? ";" }));
  return locations
    .sort((a, b) => b.node.end - a.node.end)
    .reduce((text, { node, to }) => text.slice(0, node.getStart(source)) + to + text.slice(node.end), source.text);
}

export interface Compiled {
  readonly text: string;
  /** Errors of the syntax; types aren't looked at. */
  readonly errors: readonly string[];
}

/** JavaScript of the mutant's file. */
export function compiled(mutant: Mutant): Compiled {
  const { outputText: text, diagnostics = [] } = ts.transpileModule(edited(mutant), {
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
    },
    reportDiagnostics: true,
  });
  return { text, errors: diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n")) };
}

/** The node that an edit replaces. */
function locationOf(source: ts.SourceFile, name: string, { within, node, to }: Edit): ts.Node {
  const declarations = within
    .split(".")
    .reduce<readonly ts.Node[]>((all, part) => all.flatMap((each) => declaredIn(each, part)), [source]);
  const found =
    node === undefined
      ? declarations.flatMap(contentOf)
      : declarations.flatMap((each) => nodesOf(each, squeezed(node)));
  const what = node === undefined ? "a value or a body" : `\`${node}\``;
  if (found.length !== 1)
    throw new Error(
      `the mutant "${name}" fits ${found.length} places, not one: ${what} in ${within} of ${source.fileName}`,
    );
  if (to !== undefined && squeezed(to) === textOf(found[0]!))
    throw new Error(`the mutant "${name}" changes nothing: ${within} of ${source.fileName} is \`${to}\` already`);
  return found[0]!;
}

/** Declarations of a name in a file, a class or a table: two for a getter with its setter. */
function declaredIn(node: ts.Node, name: string): readonly ts.Node[] {
  return membersOf(node).filter((member) =>
    ts.isConstructorDeclaration(member)
      ? name === "constructor"
      : (member as ts.NamedDeclaration).name?.getText() === name,
  );
}

function membersOf(node: ts.Node): readonly ts.Node[] {
  if (ts.isSourceFile(node))
    return node.statements.flatMap((statement): readonly ts.Node[] =>
      ts.isVariableStatement(statement) ? statement.declarationList.declarations : [statement],
    );
  if (ts.isClassDeclaration(node)) return node.members;
  const [value] = contentOf(node);
  return value !== undefined && ts.isObjectLiteralExpression(value) ? value.properties : [];
}

/** The body of a function, or the value of anything else that has one. */
function contentOf(declaration: ts.Node): readonly ts.Node[] {
  const { body, initializer } = declaration as ts.Node & { body?: ts.Node; initializer?: ts.Node };
  let value = body ?? initializer;
  while (value !== undefined && (ts.isAsExpression(value) || ts.isSatisfiesExpression(value))) value = value.expression;
  return value === undefined ? [] : [value];
}

/** The nodes of a text; of those that are the same piece of source, the outermost. */
function nodesOf(declaration: ts.Node, text: string): readonly ts.Node[] {
  const found = new Map<string, ts.Node>();
  const look = (node: ts.Node): void => {
    const at = `${node.getStart()}-${node.end}`;
    if (!found.has(at) && textOf(node) === text) found.set(at, node);
    else ts.forEachChild(node, look);
  };
  ts.forEachChild(declaration, look);
  return [...found.values()];
}

/** A node's tokens, without comments. */
function textOf(node: ts.Node): string {
  const tokens: string[] = [];
  const take = (part: ts.Node): void => {
    const parts = part.getChildren();
    if (parts.length === 0) tokens.push(part.getText());
    else for (const each of parts) if (!ts.isJSDoc(each)) take(each);
  };
  take(node);
  return squeezed(tokens.join(" "));
}

/** White space, and what the formatter puts after the last of several lines, make no difference. */
function squeezed(text: string): string {
  return text.replace(/\s+/g, "").replace(/,(?=[)\]}])/g, "");
}
