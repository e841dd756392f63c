/*
 * A filesystem of one file, "file", for tests: what's asked of it is answered from another file, but for what it's told to hold back.
 * By the kernel's protocol itself (linux/fuse.h), so that nothing else has to be installed.
 *
 *   fuse MOUNTPOINT BACKING [refuse-direct] [refuse-locks] [async-dio]
 *
 * On its input: "hold read write" and so on holds such requests from then on and no others, "go" answers what is held. Its end is the
 * filesystem's. It says "mounted" when it is, "held read" and so on for each request that it holds, and "impatient" when it answers them all the same
 * since nobody has said anything for long: whoever should may wait for them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_WRITE (1 << 20)
#define BUFFER_BYTES (MAX_WRITE + (64 << 10))
#define FILE_NODE 2
#define PATIENCE_MS 5000

struct request {
  struct request *next;
  size_t bytes;
  struct fuse_in_header head;
};

static const struct {
  unsigned opcode;
  const char *name;
} names[] = {
    {FUSE_GETATTR, "getattr"}, {FUSE_OPEN, "open"},   {FUSE_READ, "read"},       {FUSE_WRITE, "write"},
    {FUSE_STATFS, "statfs"},   {FUSE_FLUSH, "flush"}, {FUSE_RELEASE, "release"}, {FUSE_FSYNC, "fsync"},
    {FUSE_SETATTR, "setattr"}, {FUSE_POLL, "poll"},
};
#define NAMES (sizeof names / sizeof *names)

static int device, backing, refuse_direct, refuse_locks, async_dio;
static int held[NAMES];
static struct request *first_held, **last_held = &first_held;
static char data[MAX_WRITE];

static void answer(const struct fuse_in_header *to, int error, const void *body, size_t bytes) {
  struct fuse_out_header head = {.len = sizeof head + bytes, .error = error, .unique = to->unique};
  struct iovec parts[] = {{&head, sizeof head}, {(void *)body, bytes}};
  /* Whoever was interrupted doesn't wait any more. */
  if (writev(device, parts, 2) < 0 && errno != ENOENT) perror("answer");
}

static struct fuse_attr attributes(unsigned long node) {
  struct stat stat;
  fstat(backing, &stat);
  if (node == FUSE_ROOT_ID) return (struct fuse_attr){.ino = node, .mode = S_IFDIR | 0755, .nlink = 2};
  return (struct fuse_attr){.ino = node,
                            .size = stat.st_size,
                            .blocks = stat.st_blocks,
                            .blksize = 4096,
                            .mode = S_IFREG | 0666,
                            .nlink = 1};
}

static void look_up(const struct fuse_in_header *head, const char *name) {
  if (strcmp(name, "file") != 0) {
    answer(head, -ENOENT, NULL, 0);
    return;
  }
  struct fuse_entry_out entry = {.nodeid = FILE_NODE, .entry_valid = 60, .attr = attributes(FILE_NODE)};
  answer(head, 0, &entry, sizeof entry);
}

static void say_attributes(const struct fuse_in_header *head) {
  struct fuse_attr_out out = {.attr = attributes(head->nodeid)};
  answer(head, 0, &out, sizeof out);
}

static void init(const struct fuse_in_header *head, const struct fuse_init_in *in) {
  unsigned flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | (async_dio ? FUSE_ASYNC_DIO : 0) | (refuse_locks ? FUSE_POSIX_LOCKS : 0);
  struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
                              .minor = FUSE_KERNEL_MINOR_VERSION,
                              .max_readahead = in->max_readahead,
                              .flags = flags & in->flags,
                              .max_background = 12,
                              .congestion_threshold = 9,
                              .max_write = MAX_WRITE,
                              .max_pages = MAX_WRITE / 4096};
  answer(head, 0, &out, sizeof out);
}

static void transfer(const struct fuse_in_header *head, const void *body) {
  const struct fuse_read_in *read = body;
  const struct fuse_write_in *write = body;
  int writes = head->opcode == FUSE_WRITE;
  if (refuse_direct && ((writes ? write->flags : read->flags) & O_DIRECT)) {
    answer(head, -EINVAL, NULL, 0);
    return;
  }
  ssize_t bytes = writes ? pwrite(backing, write + 1, write->size, write->offset)
                         : pread(backing, data, read->size < MAX_WRITE ? read->size : MAX_WRITE, read->offset);
  struct fuse_write_out out = {.size = bytes};
  if (bytes < 0) answer(head, -errno, NULL, 0);
  else answer(head, 0, writes ? (void *)&out : data, writes ? sizeof out : (size_t)bytes);
}

static void serve(const struct fuse_in_header *head) {
  const void *body = head + 1;
  switch (head->opcode) {
    case FUSE_INIT:
      init(head, body);
      break;
    case FUSE_LOOKUP:
      look_up(head, body);
      break;
    case FUSE_SETATTR: {
      const struct fuse_setattr_in *in = body;
      if ((in->valid & FATTR_SIZE) && ftruncate(backing, in->size) < 0) answer(head, -errno, NULL, 0);
      else say_attributes(head);
      break;
    }
    case FUSE_GETATTR:
      say_attributes(head);
      break;
    case FUSE_OPEN:
    case FUSE_OPENDIR: {
      struct fuse_open_out out = {0};
      answer(head, 0, &out, sizeof out);
      break;
    }
    case FUSE_READ:
    case FUSE_WRITE:
      transfer(head, body);
      break;
    case FUSE_STATFS: {
      struct fuse_statfs_out out = {.st = {.bsize = 4096, .frsize = 4096, .namelen = 255}};
      answer(head, 0, &out, sizeof out);
      break;
    }
    case FUSE_FLUSH:
    case FUSE_FSYNC:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_READDIR:
      answer(head, 0, NULL, 0);
      break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      break;
    default:
      answer(head, -ENOSYS, NULL, 0);
  }
}

static int is_held(unsigned opcode) {
  for (size_t i = 0; i < NAMES; i++)
    if (names[i].opcode == opcode && held[i]) {
      printf("held %s\n", names[i].name);
      return 1;
    }
  return 0;
}

static void take(void) {
  static union {
    struct fuse_in_header head;
    char bytes[BUFFER_BYTES];
  } buffer;
  ssize_t bytes = read(device, &buffer, sizeof buffer);
  if (bytes < 0 && (errno == EINTR || errno == EAGAIN || errno == ENOENT)) return;
  /* ENODEV: it was unmounted. */
  if (bytes < 0) exit(errno != ENODEV);
  if (!is_held(buffer.head.opcode)) {
    serve(&buffer.head);
    return;
  }
  struct request *request = malloc(sizeof *request + bytes);
  request->next = NULL;
  request->bytes = bytes;
  memcpy(&request->head, &buffer, bytes);
  *last_held = request;
  last_held = &request->next;
}

static void go(void) {
  while (first_held != NULL) {
    struct request *request = first_held;
    first_held = request->next;
    serve(&request->head);
    free(request);
  }
  last_held = &first_held;
}

static void obey(char *line) {
  char *word = strtok(line, " \n");
  if (word != NULL && strcmp(word, "go") == 0) go();
  if (word == NULL || strcmp(word, "hold") != 0) return;
  memset(held, 0, sizeof held);
  while ((word = strtok(NULL, " \n")) != NULL)
    for (size_t i = 0; i < NAMES; i++)
      if (strcmp(word, names[i].name) == 0) held[i] = 1;
  printf("holding\n");
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  for (int i = 3; i < argc; i++) {
    refuse_direct |= strcmp(argv[i], "refuse-direct") == 0;
    refuse_locks |= strcmp(argv[i], "refuse-locks") == 0;
    async_dio |= strcmp(argv[i], "async-dio") == 0;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  backing = open(argv[2], O_RDWR | O_CLOEXEC);
  device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (backing < 0 || device < 0) {
    perror("open");
    return 1;
  }
  char options[100];
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
  if (mount("pinless-test", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
    perror("mount");
    return 1;
  }
  struct pollfd fds[] = {{device, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  char line[256];
  size_t length = 0;
  for (int said = 0;;) {
    int ready = poll(fds, 2, first_held == NULL ? -1 : PATIENCE_MS);
    if (ready < 0 && errno != EINTR) return 1;
    if (ready == 0) {
      printf("impatient\n");
      go();
    }
    if (ready <= 0) continue;
    if (fds[0].revents != 0) take();
    if (!said++) printf("mounted\n");
    if (fds[1].revents == 0) continue;
    ssize_t bytes = read(STDIN_FILENO, line + length, sizeof line - 1 - length);
    if (bytes <= 0) break;
    length += bytes;
    line[length] = '\0';
    for (char *end; (end = strchr(line, '\n')) != NULL;) {
      *end = '\0';
      size_t used = end + 1 - line;
      char command[256];
      strcpy(command, line);
      memmove(line, end + 1, length - used + 1);
      length -= used;
      obey(command);
    }
  }
  umount2(argv[1], MNT_DETACH);
  return 0;
}
