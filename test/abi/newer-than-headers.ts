// Names that Debian 12's kernel headers (6.1) don't have yet, each with where it comes from. They go unchecked there, and
// the test says so. Where the headers have the name, it's checked like any other.
export const NEWER: Readonly<Record<string, string>> = {};
