// The arrows between the rooms of the packages. Every room has a list of what it may import; anything else is an error.
// An import that is only for types counts like any other.

const NODE = "node"; // node's own modules
const NPM = "npm"; // packages, koffi and this workspace's own excepted
const KOFFI = "koffi";

const PINLESS = "pinless/src";
const PORTS = `${PINLESS}/ports/`;
const PROTOCOL = `${PINLESS}/protocol/`;
const ABI = `${PINLESS}/abi/`;
const LINUX = `${PINLESS}/linux/`;

/** Room: [where it is, what of packages/ it may import (itself included), what else it may import]. */
const rooms = {
  protocol: [PROTOCOL, [PROTOCOL]],
  ports: [PORTS, [PORTS, PROTOCOL]],
  abi: [ABI, [ABI]],
  linux: [LINUX, [LINUX, ABI, PROTOCOL, PORTS], NODE, KOFFI],
  schemes: [`${PINLESS}/schemes/`, [`${PINLESS}/schemes/`, LINUX, ABI, PROTOCOL, PORTS], NODE],
  memory: [`${PINLESS}/memory/`, [`${PINLESS}/memory/`, LINUX, ABI, PROTOCOL, PORTS], NODE],
  events: [`${PINLESS}/events/`, [`${PINLESS}/events/`, LINUX, ABI, PROTOCOL, PORTS], NODE],
  control: [`${PINLESS}/control/`, [`${PINLESS}/control/`, LINUX, ABI, PROTOCOL, PORTS], NODE],
  trace: [`${PINLESS}/trace/`, [`${PINLESS}/trace/`, LINUX, PROTOCOL, PORTS], NODE],
  files: [`${PINLESS}/files/`, [`${PINLESS}/files/`, PROTOCOL, PORTS], NODE],
  engine: [`${PINLESS}/engine/`, [`${PINLESS}/engine/`, `${PINLESS}/files/`, PROTOCOL, PORTS]],
  index: [`${PINLESS}/(index|fs)\\.ts$`, [`${PINLESS}/`], NODE, NPM],
  portable: [
    `${PINLESS}/portable\\.ts$`,
    [
      `${PINLESS}/(engine|files)/`,
      `${PINLESS}/events/monitor-(messages|supervisor)\\.ts$`,
      `${PINLESS}/memory/(memory-kernel|operations)\\.ts$`,
      `${PINLESS}/abi/numbers\\.ts$`,
      `${PINLESS}/schemes/start-steps\\.ts$`,
      `${PINLESS}/trace/(chrome-trace|lease-lanes)\\.ts$`,
      PROTOCOL,
      PORTS,
    ],
  ],
  internal: [`${PINLESS}/internal\\.ts$`, [`${PINLESS}/(control|schemes)/`, LINUX, ABI, PROTOCOL, PORTS]],
  command: ["cli/src/command/", ["cli/src/command/", "pinless/dist/index\\."], NODE, NPM],
  bench: ["cli/src/bench/", ["cli/src/(bench|command)/", "pinless/dist/(index|internal)\\."], NODE, NPM],
  doctor: ["cli/src/doctor/", ["cli/src/(doctor|command)/", "pinless/dist/(index|internal)\\."], NODE],
  sum: ["cli/src/sum/", ["cli/src/(sum|command)/", "pinless/dist/index\\."], NODE, NPM],
  fio: ["cli/src/fio/", ["cli/src/(fio|command)/", "pinless/dist/(index|internal)\\."], NODE, NPM],
  copy: ["cli/src/copy/", ["cli/src/(copy|command)/", "pinless/dist/(index|internal)\\."], NODE],
  "cli-control": ["cli/src/control/", ["cli/src/control/", "pinless/dist/(index|internal)\\."], NODE],
  cli: ["cli/src/(commands/|main\\.ts$)", ["cli/src/", "pinless/dist/(index|internal)\\."], NODE, NPM],
  model: ["lab/src/model/", ["lab/src/model/", "pinless/dist/portable\\."]],
  simulate: ["lab/src/simulate/", ["lab/src/(simulate|model)/", "pinless/dist/portable\\."]],
  check: ["lab/src/check/", ["lab/src/(check|proposal|model)/", "pinless/dist/portable\\."]],
  proposal: ["lab/src/proposal/", ["lab/src/(check|proposal|model)/", "pinless/dist/portable\\."]],
  "what-if": ["lab/src/what-if/", ["lab/src/(what-if|simulate|model)/", "pinless/dist/portable\\."]],
  traces: ["lab/src/traces/", ["lab/src/traces/", "lab/src/check/itf-values\\.ts$"]],
  tour: ["lab/src/tour/", ["lab/src/(tour|simulate|model)/", "pinless/dist/portable\\."]],
  page: [
    "lab/page/",
    ["lab/page/", "lab/src/(tour|traces|check|proposal|simulate|what-if|model)/", "pinless/dist/portable\\."],
    NPM,
  ],
  mutants: [
    "lab/mutants/",
    ["lab/(mutants|dist)/", "pinless/dist/portable\\.", "cli/dist/command/index\\."],
    NODE,
    NPM,
  ],
  "lab-commands": [
    "lab/src/(commands/|main\\.ts$)",
    ["lab/src/", "pinless/dist/portable\\.", "cli/dist/command/index\\."],
    NODE,
    NPM,
  ],
};

const anyOf = (paths) => `^packages/(${paths.join("|")})`;
const PACKAGE = "(^|/)node_modules/";
const KOFFI_PACKAGE = "(^|/)node_modules/(koffi|@koromix)/";

const arrows = Object.entries(rooms).flatMap(([name, [path, inside, ...others]]) => {
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

const everyRoom = anyOf(Object.values(rooms).map(([path]) => path));

module.exports = {
  forbidden: [
    ...arrows,
    // Whatever `pinless/portable` reaches is free of Node, but for this module, which a browser replaces.
    {
      name: "files-have-node-by-one-module",
      severity: "error",
      from: { path: anyOf([`${PINLESS}/files/`]), pathNot: "/files/node-runtime\\.ts$" },
      to: { dependencyTypes: ["core"], dependencyTypesNot: ["type-only"] },
    },
    { name: "no-cycles", severity: "error", from: {}, to: { circular: true } },
    { name: "no-orphans", severity: "error", from: { orphan: true }, to: {} },
    { name: "no-unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
    // A file outside every room would have no rules at all. It imports something or is imported, or it is an orphan.
    {
      name: "file-without-a-room",
      severity: "error",
      from: { path: "^packages/[a-z]+/src/", pathNot: everyRoom },
      to: {},
    },
    {
      name: "file-without-a-room",
      severity: "error",
      from: {},
      to: { path: "^packages/[a-z]+/src/", pathNot: everyRoom },
    },
  ],
  options: {
    doNotFollow: { path: "(^|/)node_modules/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"] },
  },
};
