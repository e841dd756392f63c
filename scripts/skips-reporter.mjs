// A node:test reporter that writes one line of JSON for each test that was skipped or is still to do: { file, name,
// reason }.
export default async function* skips(source) {
  const names = []; // of the test that runs and of those around it, outermost first
  for await (const { type, data } of source) {
    if (type === "test:start") {
      names.length = data.nesting;
      names[data.nesting] = data.name;
    } else if (type === "test:pass" || type === "test:fail") {
      const given = data.skip ?? data.todo;
      if (given === undefined || given === false) continue;
      const name = [...names.slice(0, data.nesting), data.name].join(" > ");
      yield `${JSON.stringify({ file: data.file, name, reason: typeof given === "string" ? given : "" })}\n`;
    }
  }
}
