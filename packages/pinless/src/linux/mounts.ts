/** Mounts of this process (/proc/self/mountinfo, proc(5)). */

export interface Mount {
  readonly id: number;
  /** Number of its device, "major:minor". */
  readonly device: string;
  /** Part of the filesystem that is mounted there. */
  readonly root: string;
  readonly at: string;
  readonly type: string;
  /** Options of the mount, followed by those of its filesystem. */
  readonly options: readonly string[];
}

/** Parses mountinfo: ID parent major:minor root mountpoint options optional… - type source superoptions. */
export function mountsOf(mountinfo: string): Mount[] {
  const lines = mountinfo.split("\n").filter((line) => line !== "");
  return lines.map((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const [id, , device = "", root = "", at = "", options = ""] = before.split(" ").map(unescaped);
    const [type = "", , superOptions = ""] = after.split(" ").map(unescaped);
    return { id: Number(id), device, root, at, type, options: [...options.split(","), ...superOptions.split(",")] };
  });
}

/** Decodes the octal escapes of blanks and other characters. */
function unescaped(word: string): string {
  return word.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
