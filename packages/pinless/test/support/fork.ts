/** Children of this process that it can have no code of its own in: a few lines of C. */

import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import koffi from "koffi";
import { addressOf } from "./proc.js";
import { scratchDirectory, undoing } from "./undo.js";

/** For a test's `skip`. */
export const needsCompiler: string | false =
  spawnSync("cc", ["--version"]).error === undefined ? false : "machine: no C compiler";

const SOURCE = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child that waits for a byte, and answers with what it sees there. child: its id, and the ends of two pipes. */
int fork_begin(const char *at, size_t bytes, int *child) {
  int ask[2], answer[2];
  if (pipe2(ask, O_CLOEXEC) != 0) return -errno;
  if (pipe2(answer, O_CLOEXEC) != 0) return -errno;
  pid_t pid = fork();
  if (pid < 0) return -errno;
  if (pid == 0) {
    char asked;
    close(ask[1]);
    if (read(ask[0], &asked, 1) != 1) _exit(0);
    _exit(write(answer[1], at, bytes) == (ssize_t)bytes ? 0 : errno);
  }
  close(ask[0]);
  close(answer[1]);
  child[0] = pid, child[1] = ask[1], child[2] = answer[0];
  return 0;
}

/* What it sees, or -errno. Where nothing is asked for it ends without a word. */
int fork_end(int *child, char *seen, size_t bytes) {
  size_t got = 0;
  ssize_t more = 1;
  if (bytes > 0 && write(child[1], "?", 1) != 1) return -errno;
  while (got < bytes && (more = read(child[2], seen + got, bytes - got)) > 0) got += more;
  close(child[1]);
  close(child[2]);
  int status = 0;
  waitpid(child[0], &status, 0);
  return got == bytes ? 0 : -WEXITSTATUS(status);
}
`;

interface Library {
  begin(at: number, bytes: number, child: Int32Array): number;
  end(child: Int32Array, seen: Uint8Array, bytes: number): number;
}

let library: Library | undefined;

function built(t: TestContext): Library {
  if (library !== undefined) return library;
  const directory = scratchDirectory(t);
  const [source, object] = [path.join(directory, "fork.c"), path.join(directory, "fork.so")];
  writeFileSync(source, SOURCE);
  execFileSync("cc", ["-O1", "-shared", "-fPIC", source, "-o", object]);
  const loaded = koffi.load(object);
  library = {
    begin: loaded.func("int fork_begin(uintptr_t at, size_t bytes, _Out_ int *child)"),
    end: loaded.func("int fork_end(int *child, _Out_ uint8_t *seen, size_t bytes)"),
  };
  return library;
}

/** A child of this process that reads a view when it's asked to: at most 64 KiB, a pipe's room. Null: EFAULT. */
export function forkHere(t: TestContext, view: Uint8Array): { look(): Uint8Array | null } {
  const { begin, end } = built(t);
  const child = new Int32Array(3);
  const errno = begin(addressOf(view), view.byteLength, child);
  if (errno < 0) throw new Error(`fork failed: errno ${-errno}`);
  let over = false;
  const finish = (seen: Uint8Array): number => {
    if (over) return 0;
    over = true;
    return end(child, seen, seen.byteLength);
  };
  undoing(t, () => void finish(new Uint8Array(0)));
  return {
    look() {
      const seen = new Uint8Array(view.byteLength);
      const answer = finish(seen);
      if (answer < 0 && answer !== -14) throw new Error(`the child ended with errno ${-answer}`);
      return answer < 0 ? null : seen;
    },
  };
}
