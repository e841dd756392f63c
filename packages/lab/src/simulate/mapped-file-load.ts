/**
 * Random load on a file-backed arena: reads into it and writes from it, stores, writeback by the program and by the
 * kernel, discards, reclaim, holes, snapshots (FICLONE). The right contents of every page and block are always known,
 * because the program does only one thing with a page at a time.
 */

import { PAGE_BYTES, violated } from "pinless/portable";
import { BLOCK_CONTENT, FILESYSTEMS } from "../model/tables.js";
import { READ_BLOCKS, type SimulatedArena, type SimulatedFile } from "./requests.js";
import type { SimulatedWorld } from "./simulated-world.js";
import type { Swarm } from "./swarm.js";
import type { Trace } from "./trace.js";

const PAGES = 24;
const FAILURES: readonly unknown[] = ["EIO", "EAGAIN", "EINTR"];
/** Actions of the program; and of the kernel and other processes. */
const ACTS = ["read", "read", "write", "store", "writeback", "discard", "pageOut"] as const;
const KERNEL = ["flush", "flush", "flush", "reclaim", "punch", "clone", "check"] as const;

interface Parts {
  readonly world: SimulatedWorld;
  readonly swarm: Swarm;
  readonly trace: Trace;
  readonly arena: SimulatedArena;
  /** File that is read into the mapping. */
  readonly source: SimulatedFile;
  /** File that the mapping's pages are written to, at the same offsets. */
  readonly copies: SimulatedFile;
}

export class MappedFile {
  readonly #parts: Parts;
  readonly #views: readonly Uint8Array[];
  readonly #firstPage: number;
  readonly #firstInodePage: number;
  readonly #firstSnapshot: number;
  readonly #firstCopy: number;
  /** By page: its content, 1 if the program is using it, and the number of its changes. */
  readonly #content = new Int32Array(PAGES);
  readonly #busy = new Uint8Array(PAGES);
  readonly #changes = new Int32Array(PAGES);
  /** Contents of the snapshot's pages, as they were when it was made. */
  readonly #snapshot = new Int32Array(PAGES);
  #nextContent = 1 << 24;

  /** Creates the files and the arena. */
  static async open(
    parts: Omit<Parts, "arena" | "copies">,
    engine: {
      arena(options: { file: string }): Promise<SimulatedArena>;
      openFile(path: string, flags: string): Promise<SimulatedFile>;
    },
  ): Promise<MappedFile> {
    const { files } = parts.world;
    const { mappedFile } = parts.swarm;
    const filesystem = mappedFile === "none" ? FILESYSTEMS.ext4 : FILESYSTEMS[mappedFile];
    for (const path of ["mapped", "snapshot"]) files.create(path, 0, filesystem).grow(PAGES * PAGE_BYTES);
    files.create("copies").grow(PAGES * PAGE_BYTES);
    const arena = await engine.arena({ file: "mapped" });
    return new MappedFile({ ...parts, arena, copies: await engine.openFile("copies", "r+") });
  }

  private constructor(parts: Parts) {
    this.#parts = parts;
    const { machine, files } = parts.world;
    this.#views = Array.from({ length: PAGES }, (_, i) => parts.arena.view(i * PAGE_BYTES, PAGE_BYTES));
    this.#firstPage = machine.pageAt(machine.addressOfView(this.#views[0]!));
    this.#firstInodePage = files.get("mapped")!.firstInodePage;
    this.#firstSnapshot = files.get("snapshot")!.firstInodePage;
    this.#firstCopy = files.get("copies")!.firstInodePage;
  }

  #below(name: string, bound: number): number {
    return this.#parts.world.machine.random.stream(`mapped file: ${name}`).below(bound);
  }

  #isContent(i: number, content: number): void {
    this.#content[i] = content;
    this.#changes[i]!++;
  }

  /** Does one random action of the program. */
  async act(): Promise<void> {
    const act = ACTS[this.#below("act", ACTS.length)]!;
    const i = this.#below("page", PAGES);
    if (this.#busy[i] === 1) return;
    this.#busy[i] = 1;
    try {
      await this.#act(act, i);
    } catch (error) {
      // A failed read has changed nothing, because bytes are copied only after they have all been read.
      if (!FAILURES.includes((error as { code?: unknown }).code)) throw error;
    } finally {
      this.#busy[i] = 0;
    }
    this.#check(i);
    this.#parts.trace.lanes?.instant("kernel", `mapped file: ${act}`, { page: i });
    this.#parts.trace.note(`mapped file: ${act} of page %, which is to hold %`, [i, this.#content[i]!]);
  }

  async #act(act: (typeof ACTS)[number], i: number): Promise<void> {
    const { world, arena, source, copies } = this.#parts;
    const view = this.#views[i]!;
    switch (act) {
      case "read": {
        const block = this.#below("block", READ_BLOCKS);
        const { bytesRead } = await source.read(view, { position: block * PAGE_BYTES });
        if (bytesRead === PAGE_BYTES) this.#isContent(i, -1 - block);
        break;
      }
      case "write":
        await copies.write(view, { position: i * PAGE_BYTES });
        this.#compare("what was written from it", i, this.#onDisk(this.#firstCopy + i), this.#content[i]!);
        break;
      case "store":
        // If the kernel makes the store wait (for writeback), it's left out.
        if (world.machine.memory.store(this.#firstPage + i, this.#nextContent) === 0)
          this.#isContent(i, this.#nextContent++);
        break;
      case "writeback":
        await this.#writeback(i);
        break;
      case "discard":
        await arena.discard(view);
        break;
      case "pageOut":
        await arena.pageOut(view);
        break;
    }
  }

  /** Writes all mapped pages back: afterwards those that weren't changed meanwhile must be on the disk. */
  async #writeback(own: number): Promise<void> {
    const still = [...this.#views.keys()].filter((i) => i === own || this.#busy[i] === 0);
    const before = this.#changes.slice();
    await this.#parts.arena.writeback();
    for (const i of still) {
      if (this.#changes[i] !== before[i] || (i !== own && this.#busy[i] === 1)) continue;
      this.#compare("after writeback the disk", i, this.#onDisk(this.#firstInodePage + i), this.#content[i]!);
    }
  }

  #onDisk(inodePage: number): number {
    const { machine } = this.#parts.world;
    if (machine.cache.isCorrupt(inodePage)) violated("LINEAR", `inode page ${inodePage} doesn't match its checksum`);
    const block = machine.cache.blockOf(inodePage);
    return block < 0 ? 0 : machine.cache.block(block, BLOCK_CONTENT);
  }

  #compare(what: string, i: number, found: number, right: number): void {
    if (found !== right) violated("LINEAR", `${what} holds ${found} for page ${i} of the file, which held ${right}`);
  }

  #check(i: number): void {
    const { machine } = this.#parts.world;
    if (this.#busy[i] === 0)
      this.#compare("the mapping", i, machine.memory.peek(this.#firstPage + i), this.#content[i]!);
    this.#compare("a snapshot", i, machine.cache.contentOfInode(this.#firstSnapshot + i), this.#snapshot[i]!);
  }

  /** Does one random action of the kernel or of another process. */
  happen(): void {
    const { world } = this.#parts;
    const { machine } = world;
    const i = this.#below("other page", PAGES);
    const inodePage = this.#firstInodePage + i;
    switch (KERNEL[this.#below("what happens", KERNEL.length)]!) {
      case "flush":
        world.flusher.begin(inodePage, 1 + this.#below("pages to flush", PAGES - i));
        break;
      case "reclaim":
        machine.cache.reclaimFile(inodePage);
        break;
      case "punch":
        if (this.#busy[i] === 0 && machine.cache.punchHole(inodePage) === 0) this.#isContent(i, 0);
        break;
      case "clone":
        if (machine.cache.clone(inodePage, this.#firstSnapshot + i) === 0)
          this.#snapshot[i] = machine.cache.contentOfInode(inodePage);
        break;
      case "check":
        for (let page = 0; page < PAGES; page++) this.#check(page);
        break;
    }
  }
}
