// Other code of the process: a library that changes memory from a thread of its own, or from the calling thread.
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { scratchDirectory } from "../support/undo.js";

export { needsCompiler } from "../support/fork.js";

/** Words that a thread of the library counts in: calls begun, calls ended, threads done; and the last errno. */
export const BEGUN = 0;
export const ENDED = 1;
export const DONE = 2;
export const FAILED = 3;
/** While it's 1 the thread computes after its last call, without a system call. */
export const COMPUTE = 4;

const SOURCE = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

struct job { char *at; size_t bytes; int count, pause_us, how; atomic_int *words; };

static int change(const struct job *job) {
  switch (job->how) {
    case 0: return madvise(job->at, job->bytes, MADV_DONTNEED);
    case 1: return madvise(job->at, job->bytes, MADV_FREE);
    case 2: {
      struct iovec pieces[2] = {{job->at, job->bytes / 2}, {job->at + job->bytes / 2, job->bytes / 2}};
      int self = syscall(SYS_pidfd_open, getpid(), 0);
      if (self < 0) return -1;
      long done = syscall(SYS_process_madvise, self, pieces, 2, MADV_DONTNEED, 0);
      close(self);
      return done < 0 ? -1 : 0;
    }
  }
  return -1;
}

static void *run(void *argument) {
  struct job *job = argument;
  unsigned seed = 1;
  for (int i = 0; i < job->count; i++) {
    atomic_fetch_add(&job->words[0], 1);
    if (change(job) != 0) atomic_store(&job->words[3], errno);
    atomic_fetch_add(&job->words[1], 1);
    if (job->pause_us > 0) usleep(rand_r(&seed) % job->pause_us);
  }
  while (atomic_load(&job->words[4]) == 1) {}
  atomic_fetch_add(&job->words[2], 1);
  free(job);
  return NULL;
}

/* Changes memory again and again, on a thread of its own. */
int start(char *at, size_t bytes, int count, int pause_us, int how, int *words) {
  struct job *job = malloc(sizeof *job);
  *job = (struct job){at, bytes, count, pause_us, how, (atomic_int *)words};
  pthread_t thread;
  int error = pthread_create(&thread, NULL, run, job);
  if (error == 0) pthread_detach(thread);
  return error;
}

/* Maps memory of its own over a range, as an allocator may that found it free, and fills it. */
int take_over(char *at, size_t bytes, int value) {
  if (munmap(at, bytes) != 0) return errno;
  char *mine = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (mine == MAP_FAILED) return errno;
  memset(mine, value, bytes);
  return 0;
}

int map_over(char *at, size_t bytes, int value) {
  char *mine = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (mine == MAP_FAILED) return errno;
  memset(mine, value, bytes);
  return 0;
}

/* Moves memory away. The new place is the caller's. */
int move_away(char *at, size_t bytes, int unused) {
  char *to = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (to == MAP_FAILED) return errno;
  return mremap(at, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED ? errno : 0;
}

/* What a child is given at fork, before it runs anything else, as /proc says it of the child itself. */
int fork_report(char *report, size_t bytes) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
  pid_t child = fork();
  if (child < 0) return -errno;
  if (child == 0) {
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t got = file < 0 ? -1 : read(file, report, bytes);
    if (got > 0) got = write(ends[1], report, got);
    _exit(got > 0 ? 0 : 1);
  }
  close(ends[1]);
  ssize_t got = read(ends[0], report, bytes - 1);
  close(ends[0]);
  waitpid(child, NULL, 0);
  report[got < 0 ? 0 : got] = 0;
  return (int)got;
}

/* How many bytes of a range have this value. */
size_t count_of(const unsigned char *at, size_t bytes, int value) {
  size_t count = 0;
  for (size_t i = 0; i < bytes; i++) count += at[i] == value;
  return count;
}
`;

/** Compiles it; returns where it is. */
export function buildLibrary(t: TestContext): string {
  const directory = scratchDirectory(t);
  const [source, library] = [path.join(directory, "foreign.c"), path.join(directory, "foreign.so")];
  writeFileSync(source, SOURCE);
  execFileSync("cc", ["-O2", "-shared", "-fPIC", "-pthread", source, "-o", library]);
  return library;
}

/** Declarations of the functions for koffi; also pasted into the sources of workers and children. */
export const DECLARATIONS = {
  start: "int start(uintptr_t at, size_t bytes, int count, int pause, int how, uintptr_t words)",
  takeOver: "int take_over(uintptr_t at, size_t bytes, int value)",
  mapOver: "int map_over(uintptr_t at, size_t bytes, int value)",
  moveAway: "int move_away(uintptr_t at, size_t bytes, int unused)",
  forkReport: "int fork_report(_Out_ char *report, size_t bytes)",
  countOf: "size_t count_of(uintptr_t at, size_t bytes, int value)",
} as const;
