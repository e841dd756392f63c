// The arrows between the layers of src/. Every layer has a list of what it may import; anything else is an error.
// An import that is only for types counts like any other.

const NODE = "node"; // node's own modules
const NPM = "npm"; // packages, koffi excepted
const KOFFI = "koffi";

/** Layer: [where it is, what of src/ it may import (itself included), what else it may import]. */
const layers = {
  core: ["core/", ["core/"]],
  abi: ["abi/", ["abi/"]],
  linux: ["linux/", ["linux/", "abi/", "core/"], NODE, KOFFI],
  schemes: ["schemes/", ["schemes/", "linux/", "abi/", "core/"], NODE],
  memory: ["memory/", ["memory/", "linux/", "abi/", "core/"], NODE],
  events: ["events/", ["events/", "linux/", "abi/", "core/"], NODE],
  operators: ["operators/", ["operators/", "linux/", "abi/", "core/"], NODE],
  model: ["model/", ["model/", "abi/", "core/"]],
  engine: [
    "engine\\.ts$",
    [
      "engine\\.ts$",
      "(arena|backing|backlog|changes|chunk-size|growth|lifetime|losses|segment)\\.ts$",
      "files/",
      "core/",
    ],
  ],
  arena: [
    "(arena|backing|backlog|changes|chunk-size|growth|lifetime|losses|segment)\\.ts$",
    [
      "engine\\.ts$",
      "(arena|backing|backlog|changes|chunk-size|growth|lifetime|losses|segment)\\.ts$",
      "files/",
      "core/",
    ],
  ],
  "default-engine": ["default-engine\\.ts$", ["engine\\.ts$", "files/", "core/"]],
  files: ["files/", ["engine\\.ts$", "(arena|segment)\\.ts$", "files/", "core/"], NODE],
  simulate: ["simulate/", ["simulate/", "engine\\.ts$", "model/", "core/"]],
  lab: ["lab/", ["lab/", "simulate/", "model/", "core/"], NODE],
  // One file of linux/ beside the index: laying memory out badly is nothing that the package offers.
  bench: ["bench/", ["bench/", "index\\.ts$", "linux/placement\\.ts$"], NODE, NPM],
  doctor: ["doctor/", ["doctor/", "index\\.ts$", "bench/", "schemes/", "linux/", "abi/", "core/"], NODE],
  cli: ["cli/", ["cli/", "index\\.ts$", "bench/", "doctor/", "operators/", "simulate/", "lab/"], NODE, NPM],
  index: [
    "index\\.ts$",
    [
      "(default-)?engine\\.ts$",
      "(arena|backing)\\.ts$",
      "files/",
      "core/",
      "abi/",
      "linux/",
      "schemes/",
      "memory/",
      "events/",
      "operators/",
    ],
    NODE,
    NPM,
  ],
};

const anyOf = (paths) => `^src/(${paths.join("|")})`;
const PACKAGE = "(^|/)node_modules/";
const KOFFI_PACKAGE = "(^|/)node_modules/(koffi|@koromix)/";

const arrows = Object.entries(layers).flatMap(([name, [path, inside, ...others]]) => {
  const from = { path: anyOf([path]) };
  const rules = [
    {
      name: `${name}-imports`,
      severity: "error",
      from,
      // Builtins and packages have rules of their own below; what does not resolve at all is refused here too.
      to: { pathNot: [anyOf(inside), PACKAGE], dependencyTypesNot: ["core"] },
    },
  ];
  if (!others.includes(NODE)) {
    rules.push({ name: `${name}-has-no-node-modules`, severity: "error", from, to: { dependencyTypes: ["core"] } });
  }
  if (!others.includes(NPM)) {
    rules.push({
      name: `${name}-has-no-packages`,
      severity: "error",
      from,
      to: { path: PACKAGE, pathNot: KOFFI_PACKAGE },
    });
  }
  if (!others.includes(KOFFI)) {
    rules.push({ name: `${name}-has-no-koffi`, severity: "error", from, to: { path: KOFFI_PACKAGE } });
  }
  return rules;
});

const everyLayer = anyOf(Object.values(layers).map(([path]) => path));

module.exports = {
  forbidden: [
    ...arrows,
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    { name: "no-orphans", severity: "error", from: { orphan: true }, to: {} },
    { name: "no-unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
    // A file outside every layer would have no rules at all. It imports something or is imported, or it is an orphan.
    { name: "file-without-a-layer", severity: "error", from: { path: "^src/", pathNot: everyLayer }, to: {} },
    { name: "file-without-a-layer", severity: "error", from: {}, to: { path: "^src/", pathNot: everyLayer } },
  ],
  options: {
    doNotFollow: { path: "(^|/)node_modules/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"] },
  },
};
