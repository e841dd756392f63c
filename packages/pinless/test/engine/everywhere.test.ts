/**
 * The same results as node:fs on every kind of file, by every scheme: each call of a table is made on a FileHandle and
 * on Files. EXCEPTIONS names what isn't the same, with the reason.
 */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import { type FileHandle, open as openByNode } from "node:fs/promises";
import path from "node:path";
import { after, type TestContext, test } from "node:test";
import { promisify } from "node:util";
import koffi from "koffi";
import { type Arena, Engine, type SchemeName } from "../../dist/index.js";
import { socketpair } from "../../dist/linux/libc.js";
import { loadLibc } from "../../dist/linux/libc-bindings.js";
import { btrfsThat, disk, ext4, loopDevice, needsRoot, overlay, squashfs, tmpfs } from "../support/disks.js";
import { ioUringOff } from "../support/io-uring.js";
import { Random } from "../support/random.js";
import { namedPipe, scratchDirectory, undoing } from "../support/undo.js";
import { type Call, ENDED_PIPE_CALLS, FILE_CALLS, PIPE_CALLS, shown, streamCalls } from "./everywhere-calls.js";

const MIB = 1 << 20;
const SCHEMES: readonly SchemeName[] = ioUringOff() ? ["aio", "direct"] : ["io_uring", "aio", "direct"];
const CONTENT = new Random(31).bytes(300_001);
const { O_RDWR, O_NONBLOCK, O_NOCTTY, O_RDONLY } = fs.constants;

await loadLibc();
const libc = koffi.load(null);

const engines = await Promise.all(
  SCHEMES.map(async (scheme) => {
    const engine = await Engine.open({ scheme, depth: 8, pin: "per-io" });
    return { by: scheme, engine, arena: await engine.arena({ bytes: 8 * MIB }) };
  }),
);
after(async () => {
  for (const { engine } of engines) await engine.close();
});

/** File to open: a path, or an open descriptor. */
type Target = string | { readonly fd: number };

interface Kind {
  readonly what: string;
  readonly skip?: string | false;
  readonly flags: readonly (string | number)[];
  readonly calls?: readonly Call[];
  /** It can be read without end. */
  readonly endless?: boolean;
  /** Its bytes are never the same. */
  readonly random?: boolean;
  /** Once for all: a place for `target`. */
  readonly location?: (t: TestContext) => string | Promise<string>;
  /** The file to open: as it was before, for Node and for each scheme that's compared with it. */
  readonly target: (location: string, by: string, t: TestContext) => Target;
}

function regular(what: string, location: (t: TestContext) => string, more: Partial<Kind> = {}): Kind {
  const target = (at: string, by: string): string => {
    const name = path.join(at, by);
    fs.writeFileSync(name, CONTENT);
    return name;
  };
  return { what, skip: needsRoot, flags: ["r", "r+", "w+", "a+", "a"], location, target, ...more };
}

function fixed(name: string, flags: string, more: Partial<Kind> = {}): Kind {
  return { what: name, flags: [flags], target: () => name, ...more };
}

/**
 * The mounts of a child with a namespace of its own, of which only / and /proc are left: a directory that another test
 * removes takes its mount out of every namespace, also out of this one.
 */
async function ownMounts(t: TestContext): Promise<string> {
  const unmountOthers =
    'while read -r _ at _; do case "$at" in / | /proc) ;; *) umount -l "$at" 2>&- ;; esac; done < /proc/self/mounts';
  const args = ["--mount", "--propagation", "private", "sh", "-c", `${unmountOthers}; echo there; read -r _`];
  const child = spawn("unshare", args, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(child, "exit");
  undoing(t, async () => {
    child.stdin.end();
    await ended;
  });
  await once(child.stdout, "data");
  return `/proc/${child.pid}/mounts`;
}

const KINDS: readonly Kind[] = [
  { ...regular("a file of the scratch disk", scratchDirectory), skip: false },
  regular("a file on ext4", (t) => ext4(t, 32 * MIB)),
  regular("a file on xfs", (t) => disk(t, "xfs", 320 * MIB, "memory").mount),
  regular("a file on btrfs", (t) => disk(t, "btrfs", 128 * MIB, "memory").mount),
  regular("a file on btrfs that compresses", (t) => btrfsThat(t, "compress=zstd")),
  regular("a file on tmpfs", (t) => tmpfs(t, 32 * MIB)),
  regular("a file on an overlay", (t) => overlay(t, tmpfs(t, 32 * MIB))),
  regular("a file on squashfs", (t) => squashfs(t, { file: CONTENT }), {
    flags: ["r", "r+"],
    target: (at) => path.join(at, "file"),
  }),
  {
    what: "a block device",
    skip: needsRoot,
    flags: ["r", "r+"],
    location: (t) => loopDevice(t, MIB).device,
    target: (device) => {
      fs.writeFileSync(device, Buffer.concat([CONTENT, Buffer.alloc(MIB - CONTENT.length)]), { flag: "r+" });
      return device;
    },
  },
  {
    what: "a memfd",
    flags: ["r+"],
    target: (_, _by, t) => {
      const fd: number = libc.func("int memfd_create(const char *name, unsigned int flags)")("pinless-test", 1);
      undoing(t, () => fs.closeSync(fd));
      fs.writeSync(fd, CONTENT);
      return `/proc/self/fd/${fd}`;
    },
  },
  fixed("/dev/null", "r+"),
  fixed("/dev/zero", "r+", { endless: true }),
  fixed("/dev/full", "r+", { endless: true }),
  fixed("/dev/urandom", "r", { endless: true, random: true }),
  fixed("/proc/self/limits", "r"),
  fixed("/proc/self/comm", "r+"),
  fixed("/proc/self/uid_map", "r"),
  fixed("/proc/self/timerslack_ns", "r+"),
  fixed("/proc/self/oom_score_adj", "r"),
  fixed("/proc/sys/kernel/ostype", "r"),
  {
    what: "/proc/self/mounts",
    skip: needsRoot,
    flags: ["r"],
    location: ownMounts,
    target: (mounts) => mounts,
  },
  fixed("/sys/kernel/mm/transparent_hugepage/enabled", "r"),
  fixed("/", "r"),
  {
    what: "a FIFO that is open for both",
    flags: ["r+"],
    calls: PIPE_CALLS,
    target: (_, _by, t) => {
      const pipe = namedPipe(t);
      const fd = fs.openSync(pipe, O_RDWR | O_NONBLOCK);
      undoing(t, () => fs.closeSync(fd));
      fs.writeSync(fd, "some text");
      return pipe;
    },
  },
  {
    what: "a FIFO that ends",
    flags: [O_RDONLY],
    calls: ENDED_PIPE_CALLS,
    target: (_, _by, t) => {
      const pipe = namedPipe(t);
      const writer = fs.openSync(pipe, O_RDWR | O_NONBLOCK);
      fs.writeSync(writer, CONTENT.subarray(0, 60_000));
      endsWhenOpen.set(pipe, writer);
      return pipe;
    },
  },
  {
    what: "a terminal",
    flags: [O_RDWR | O_NOCTTY],
    calls: streamCalls("was typed"),
    target: (_, _by, t) => {
      const master = fs.openSync("/dev/ptmx", O_RDWR | O_NONBLOCK | O_NOCTTY);
      undoing(t, () => fs.closeSync(master));
      const ioctl = libc.func("int ioctl(int fd, ulong request, _Inout_ int *value)");
      const number = [0];
      ioctl(master, 0x40045431, [0]);
      ioctl(master, 0x80045430, number);
      fs.writeSync(master, "typed\n");
      return `/dev/pts/${number[0]}`;
    },
  },
  {
    what: "a socket",
    flags: ["r+"],
    calls: streamCalls("was sent"),
    target: (_, _by, t) => {
      const pair = socketpair(1, 1) as readonly [number, number];
      undoing(t, () => {
        for (const fd of pair) fs.closeSync(fd);
      });
      fs.writeSync(pair[1], "sent");
      return { fd: pair[0] };
    },
  },
];

/** Descriptors of writers, by the path of the pipe, kept until it has been opened for reading. */
const endsWhenOpen = new Map<string, number>();

interface Exception {
  readonly kind?: RegExp;
  readonly call?: RegExp;
  readonly by?: RegExp;
  readonly why: string;
}

const EXCEPTIONS: readonly Exception[] = [
  {
    kind: /FIFO|terminal/,
    call: /[rR]ead.*(was|what|rest|part|bytes|end)|^readFile$/,
    by: /^direct$/,
    why: "a read that may never end would keep a thread of libuv's pool: refused with ERR_PINLESS_UNSUPPORTED",
  },
  {
    kind: /^a socket$/,
    by: /^(aio|direct)$/,
    why: "a socket would have to stop blocking, also for its other owners: not opened, ERR_PINLESS_UNSUPPORTED",
  },
];

const [read, write] = [promisify(fs.read), promisify(fs.write)];
const [readv, writev] = [promisify(fs.readv), promisify(fs.writev)];

/** The part of FileHandle that the table uses, for a descriptor, for which node:fs makes no FileHandle. */
function byDescriptor(fd: number): object {
  type Position = { position?: number | null } | number | null | undefined;
  const positionOf = (options: Position, position: number | null | undefined): number | null =>
    (typeof options === "object" && options !== null ? options.position : position) ?? null;
  return {
    read: (buffer: Buffer, options?: Position, _length?: number, position?: number | null) =>
      read(fd, buffer, 0, buffer.byteLength, positionOf(options, position)),
    write: (data: Buffer | string, options?: Position, _length?: number, position?: number | null) =>
      typeof data === "string"
        ? write(fd, data, (options as number) ?? null)
        : write(fd, data, 0, data.byteLength, positionOf(options, position)),
    readv: (buffers: Buffer[], position?: number) => readv(fd, buffers, position as number),
    writev: (buffers: Buffer[], position?: number) => writev(fd, buffers, position as number),
  };
}

async function outcomeOf(run: () => unknown): Promise<string> {
  try {
    return JSON.stringify(shown(await run())) ?? "undefined";
  } catch (error) {
    const { code, syscall, name } = error as NodeJS.ErrnoException;
    return `${code ?? name}${syscall === undefined ? "" : ` (${syscall})`}`;
  }
}

/** Everything that comes of the calls, one after the other, on one handle. */
async function outcomes(
  kind: Kind,
  target: Target,
  open: () => Promise<object>,
  arena: Arena | null,
): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  let handle: FileHandle | null = null;
  all.set(
    "open",
    await outcomeOf(async () => {
      handle = (await open()) as FileHandle;
    }),
  );
  const writer = endsWhenOpen.get(String(target));
  if (writer !== undefined) {
    fs.closeSync(writer);
    endsWhenOpen.delete(String(target));
  }
  if (handle === null) return all;
  for (const { what, run, toTheEnd, alone } of kind.calls ?? FILE_CALLS) {
    if (toTheEnd === true && kind.endless === true) continue;
    const used: Uint8Array[] = [];
    const memory = (bytes: number, odd = false): Uint8Array => {
      if (arena === null) return new Uint8Array(bytes);
      const buffer = arena.alloc(bytes + 4096);
      used.push(buffer);
      return buffer.subarray(odd ? 3 : 0, bytes + (odd ? 3 : 0));
    };
    const on = alone === true ? ((await open()) as FileHandle) : handle;
    const outcome = await outcomeOf(() => run(on, memory));
    all.set(what, kind.random === true ? outcome.replace(/ [0-9a-f]{40}/g, "") : outcome);
    for (const buffer of used) await arena?.free(buffer);
  }
  // Some tables end with close(): closed twice is an error, by node:fs too. A descriptor has no close() here.
  await (handle as Partial<FileHandle>).close?.().catch(() => undefined);
  if (
    typeof target === "string" &&
    fs.statSync(target).isFile() &&
    !target.startsWith("/proc") &&
    !target.startsWith("/sys")
  )
    all.set("the content afterwards", await outcomeOf(() => fs.readFileSync(target)));
  return all;
}

const met = new Set<Exception>();

function excepted(kind: Kind, call: string, by: string): boolean {
  const exception = EXCEPTIONS.find(
    (each) => (each.kind?.test(kind.what) ?? true) && (each.call?.test(call) ?? true) && (each.by?.test(by) ?? true),
  );
  if (exception !== undefined) met.add(exception);
  return exception !== undefined;
}

for (const kind of KINDS) {
  test(`on ${kind.what} every call has the same result as by node:fs`, { skip: kind.skip ?? false }, async (t) => {
    const location = (await kind.location?.(t)) ?? "";
    const differences: string[] = [];
    const comm = fs.readFileSync("/proc/self/comm");
    undoing(t, () => fs.writeFileSync("/proc/self/comm", comm));
    for (const flags of kind.flags) {
      fs.writeFileSync("/proc/self/comm", comm);
      const theirs = kind.target(location, "node", t);
      const openTheirs = () =>
        typeof theirs === "string" ? openByNode(theirs, flags) : Promise.resolve(byDescriptor(theirs.fd));
      const expected = await outcomes(kind, theirs, openTheirs, null);
      for (const { by, engine, arena } of engines) {
        fs.writeFileSync("/proc/self/comm", comm);
        const ours = kind.target(location, by, t);
        const got = await outcomes(kind, ours, () => engine.openFile(ours, flags), arena);
        for (const call of new Set([...expected.keys(), ...got.keys()])) {
          if (got.get(call) === expected.get(call) || excepted(kind, call, by)) continue;
          differences.push(`${by}, "${flags}", ${call}: ${got.get(call)}, by node:fs ${expected.get(call)}`);
        }
      }
    }
    assert.deepEqual(differences, []);
  });
}

test("every listed exception is needed", () => {
  assert.deepEqual(
    EXCEPTIONS.filter((exception) => !met.has(exception)),
    [],
  );
});
