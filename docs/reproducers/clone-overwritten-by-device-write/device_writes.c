// SPDX-License-Identifier: MIT
/*
 * Has a device write into a file's page cache: reads a file with O_DIRECT into
 * a shared mapping of another one. While the reads are in flight, the mapped
 * file is written back, as the kernel's flusher, msync and FICLONE do.
 *
 *	cc -O2 device_writes.c -o device_writes -luring
 *	device_writes SOURCES DIRECTORY clone|scrub|DISK direct|copied SECONDS
 *
 *	clone	FICLONE does it. The clone is read at once, and again when the
 *		reads have ended and the mapping was msynced. Nobody ever wrote
 *		the clone: pages that differ were written through the other
 *		file. A clone that can't be read counts with all its pages.
 *	scrub	msync does it. What came of it is for a scrub to say.
 *	DISK	sync_file_range does it. When the reads have ended, msync, and
 *		look on the disk whether what they read is there: for
 *		filesystems that write in place (ext4, xfs).
 *	copied	The control: read into a buffer of our own, and memcpy() into
 *		the mapping when the reads have ended.
 *
 * DIRECTORY is on the filesystem under test, on a fast disk; SOURCES is one on
 * a slower disk, so that writeback is there before the device's data. Their
 * files "source", "target" and "clone" are written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096
#define BYTES		(16L << 20)
#define READ_BYTES	(256L << 10)
#define READS		(BYTES / READ_BYTES)
#define VERSIONS	4	/* of the content: no two rounds' are alike */
#define CANT_RUN	77

static void fail(int status, const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(error));
	exit(status);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static char *map(int flags, int fd)
{
	char *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (memory == MAP_FAILED)
		fail(2, "mmap", errno);
	return memory;
}

static int create(const char *directory, const char *name, int flags)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | flags, 0600);
	if (fd < 0)
		fail(CANT_RUN, path, errno);
	return fd;
}

/* No page of a file is like another. */
static void fill(int fd, int times, int *memory, unsigned int seed)
{
	size_t i;

	while (times--) {
		for (i = 0; i < BYTES / sizeof(*memory); i++)
			memory[i] = rand_r(&seed);
		if (write(fd, memory, BYTES) != BYTES)
			fail(2, "write", errno);
	}
	if (fsync(fd))
		fail(2, "fsync", errno);
}

/* With a checksum error (EIO, or the part before it) all pages are bad. */
static int read_file(int fd, char *into, off_t at)
{
	ssize_t got = pread(fd, into, BYTES, at);

	if (got < 0 && errno != EIO)
		fail(2, "read", errno);
	return got == BYTES ? 0 : BYTES / PAGE;
}

static void write_back(char *target)
{
	if (msync(target, BYTES, MS_SYNC))
		fail(2, "msync", errno);
}

/* Where a file is on its disk, in one piece. */
static off_t place_on_disk(int fd)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} request = { .map = { .fm_length = BYTES, .fm_extent_count = 1,
			       .fm_flags = FIEMAP_FLAG_SYNC } };
	struct fiemap_extent *extent = request.map.fm_extents;

	if (ioctl(fd, FS_IOC_FIEMAP, &request.map))
		fail(CANT_RUN, "FIEMAP", errno);
	if (request.map.fm_mapped_extents != 1 || extent->fe_length < BYTES ||
	    extent->fe_flags & ~FIEMAP_EXTENT_LAST)
		fail(CANT_RUN, "the file isn't in one piece", ENOSPC);
	return extent->fe_physical;
}

static void start_reads(struct io_uring *ring, int fd, char *into, off_t at)
{
	struct io_uring_sqe *sqe;
	int i, done;

	/* Faults are taken here, so that the reads start all at once. */
	for (i = 0; i < BYTES; i += PAGE)
		((volatile char *)into)[i] = into[i];
	/* From the end: writeback goes the other way and is there first. */
	for (i = READS - 1; i >= 0; i--) {
		sqe = io_uring_get_sqe(ring);
		io_uring_prep_read(sqe, fd, into + i * READ_BYTES, READ_BYTES,
				   at + i * READ_BYTES);
	}
	done = io_uring_submit(ring);
	if (done != READS)
		fail(2, "io_uring_enter", done < 0 ? -done : EAGAIN);
}

static void end_reads(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int i, error;

	for (i = 0; i < READS; i++) {
		error = io_uring_wait_cqe(ring, &cqe);
		if (error)
			fail(2, "io_uring_enter", -error);
		if (cqe->res != READ_BYTES)
			fail(2, "read", cqe->res < 0 ? -cqe->res : EIO);
		io_uring_cqe_seen(ring, cqe);
	}
}

static int differing_pages(const char *a, const char *b)
{
	int i, count = 0;

	for (i = 0; i < BYTES; i += PAGE)
		count += memcmp(a + i, b + i, PAGE) != 0;
	return count;
}

int main(int argc, char **argv)
{
	int source, target_fd, disk = -1, clone = -1, copied, clones, error;
	int rounds = 0, bad_rounds = 0, bad_pages = 0, bad = 0;
	char *target, *own, *seen;
	struct io_uring ring;
	double end;
	off_t place = 0;

	if (argc != 6) {
		fprintf(stderr, "usage: device_writes SOURCES DIRECTORY "
			"clone|scrub|DISK direct|copied SECONDS\n");
		return 2;
	}
	clones = !strcmp(argv[3], "clone");
	error = io_uring_queue_init(READS, &ring, 0);
	if (error)
		fail(CANT_RUN, "io_uring_setup", -error);
	copied = !strcmp(argv[4], "copied");
	own = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	seen = map(MAP_PRIVATE | MAP_ANONYMOUS, -1);
	source = create(argv[1], "source", O_DIRECT);
	fill(source, VERSIONS, (int *)own, 1);
	target_fd = create(argv[2], "target", 0);
	fill(target_fd, 1, (int *)own, 2);
	target = map(MAP_SHARED, target_fd);
	if (argv[3][0] == '/') {
		place = place_on_disk(target_fd);
		disk = open(argv[3], O_RDONLY | O_DIRECT);
		if (disk < 0)
			fail(CANT_RUN, argv[3], errno);
	}

	for (end = seconds() + atof(argv[5]); seconds() < end; rounds++) {
		if (clones)
			clone = create(argv[2], "clone", O_DIRECT);
		start_reads(&ring, source, copied ? own : target,
			    (rounds % VERSIONS) * BYTES);
		if (clones) {
			if (ioctl(clone, FICLONE, target_fd))
				fail(CANT_RUN, "FICLONE", errno);
			bad = read_file(clone, seen, 0);
		} else if (disk >= 0) {
			sync_file_range(target_fd, 0, BYTES,
					SYNC_FILE_RANGE_WRITE);
		} else {
			write_back(target);
		}

		end_reads(&ring);
		if (copied)
			memcpy(target, own, BYTES);
		write_back(target);

		if (clones) {
			/* Pages may have been marked dirty a little later. */
			usleep(10000);
			write_back(target);
			if (!bad)
				bad = read_file(clone, own, 0);
			if (!bad)
				bad = differing_pages(own, seen);
			close(clone);
		} else if (disk >= 0) {
			bad = read_file(disk, own, place);
			if (!bad)
				bad = differing_pages(own, target);
		}
		bad_pages += bad;
		bad_rounds += bad > 0;
	}
	printf("%s: %d of %d rounds bad, in %d pages\n", argv[4],
	       bad_rounds, rounds, bad_pages);
	return 0;
}
