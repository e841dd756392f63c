/** Parts of commands, for `pinless` and `pinless-lab`. */

export { engineName } from "./engine-name.js";
export { explaining, FAILED, USAGE, UsageError } from "./failures.js";
export { bold, DASH, type Grid, renderGrid, type Style, TABLE_COLUMNS, textOf, wrap } from "./grid.js";
export { readInputFile } from "./input-file.js";
export { onInterrupt } from "./interrupt.js";
export { JsonError, parseJson } from "./json-source.js";
export { wholeNumber } from "./number-arguments.js";
export { complain, print, printJson } from "./output.js";
export { whyUnwritable } from "./output-file.js";
export { printable, printableValue } from "./printable.js";
export { type ProgressBar, progressBar } from "./progress-bar.js";
export { terminal, writeJson } from "./report-output.js";
export { type Program, runProgram } from "./run-program.js";
