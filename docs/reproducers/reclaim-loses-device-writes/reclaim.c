// SPDX-License-Identifier: MIT
/*
 * Reads a file with O_DIRECT into clean anonymous pages, has the pages
 * reclaimed, and counts the pages that don't have the file's content then.
 *
 *	cc -O2 reclaim.c -o reclaim -luring
 *	reclaim FILE free|swap plain|registered|populated
 *
 * How the pages become clean:
 *	free		MADV_FREE
 *	swap		swapped out, and swapped in by loads
 * How they are read into:
 *	plain		IORING_OP_READ, nothing registered
 *	registered	IORING_OP_READ_FIXED between register and unregister
 *	populated	the same, with MADV_POPULATE_WRITE after registering
 *
 * FILE has 4 MiB of anything but 0x11 and zeros, on a filesystem with direct
 * I/O. "swap" needs swap space that is on a disk.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23	/* since 5.14 */
#endif

#define PAGE		4096
#define PAGES		1024
#define BYTES		(PAGES * PAGE)
#define READ_BYTES	(16 * PAGE)
#define CANT_RUN	77

static void fail(int status, const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(error));
	exit(status);
}

static void advise(char *memory, int advice, const char *name)
{
	if (madvise(memory, BYTES, advice))
		fail(CANT_RUN, name, errno);
}

/* mincore() would count what is only in the swap cache, too. */
static int pages_present(char *memory)
{
	unsigned long long entries[PAGES];
	int i, count = 0, fd = open("/proc/self/pagemap", O_RDONLY);
	off_t at = (unsigned long)memory / PAGE * sizeof(entries[0]);

	if (fd < 0 || pread(fd, entries, sizeof(entries), at) !=
	    sizeof(entries))
		fail(CANT_RUN, "/proc/self/pagemap", errno);
	close(fd);
	for (i = 0; i < PAGES; i++)
		count += entries[i] >> 63;
	return count;
}

/* One MADV_PAGEOUT leaves pages that something else holds for a moment. */
static int page_out(char *memory)
{
	int round, left = PAGES;

	for (round = 0; round < 20 && left > 0; round++) {
		advise(memory, MADV_PAGEOUT, "MADV_PAGEOUT");
		left = pages_present(memory);
		if (left > 0)
			usleep(10000);
	}
	return left;
}

static void make_clean(char *memory, const char *how)
{
	volatile char *p = memory;
	int i;

	if (!strcmp(how, "free")) {
		advise(memory, MADV_FREE, "MADV_FREE");
		return;
	}
	if (page_out(memory) > PAGES / 2)
		fail(CANT_RUN, "pages stay: no swap space", ENOSPC);
	for (i = 0; i < PAGES; i++)
		(void)p[i * PAGE];
}

static void read_all(struct io_uring *ring, int fd, char *memory, int fixed)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	off_t at;
	int error;

	for (at = 0; at < BYTES; at += READ_BYTES) {
		sqe = io_uring_get_sqe(ring);
		if (fixed)
			io_uring_prep_read_fixed(sqe, fd, memory + at,
						 READ_BYTES, at, 0);
		else
			io_uring_prep_read(sqe, fd, memory + at, READ_BYTES,
					   at);
		error = io_uring_submit_and_wait(ring, 1);
		if (error >= 0)
			error = io_uring_wait_cqe(ring, &cqe);
		if (error < 0)
			fail(2, "io_uring_enter", -error);
		if (cqe->res != READ_BYTES)
			fail(2, "read", cqe->res < 0 ? -cqe->res : EIO);
		io_uring_cqe_seen(ring, cqe);
	}
}

int main(int argc, char **argv)
{
	static char expected[BYTES], old[PAGE], zeros[PAGE];
	int i, fd, error, left, registered;
	int lost = 0, lost_old = 0, lost_zero = 0;
	struct iovec iov = { .iov_len = BYTES };
	struct io_uring ring;
	char *memory;

	if (argc != 4) {
		fprintf(stderr, "usage: reclaim FILE free|swap "
			"plain|registered|populated\n");
		return 2;
	}
	registered = strcmp(argv[3], "plain");
	fd = open(argv[1], O_RDONLY | O_DIRECT);
	if (fd < 0)
		fail(CANT_RUN, argv[1], errno);
	memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		fail(2, "mmap", errno);
	error = io_uring_queue_init(4, &ring, 0);
	if (error)
		fail(CANT_RUN, "io_uring_setup", -error);

	/* The file's content, by a way that isn't under test. */
	iov.iov_base = memory;
	read_all(&ring, fd, memory, 0);
	memcpy(expected, memory, BYTES);

	madvise(memory, BYTES, MADV_NOHUGEPAGE);
	memset(memory, 0x11, BYTES);
	memset(old, 0x11, PAGE);
	make_clean(memory, argv[2]);

	if (registered) {
		error = io_uring_register_buffers(&ring, &iov, 1);
		if (error)
			fail(CANT_RUN, "io_uring_register", -error);
	}
	if (!strcmp(argv[3], "populated"))
		advise(memory, MADV_POPULATE_WRITE, "MADV_POPULATE_WRITE");
	read_all(&ring, fd, memory, registered);
	if (registered) {
		error = io_uring_unregister_buffers(&ring);
		if (error)
			fail(2, "unregister", -error);
	}
	left = page_out(memory);

	for (i = 0; i < PAGES; i++) {
		char *page = memory + i * PAGE;

		lost += memcmp(page, expected + i * PAGE, PAGE) != 0;
		lost_old += memcmp(page, old, PAGE) == 0;
		lost_zero += memcmp(page, zeros, PAGE) == 0;
	}
	printf("%s, %s: %d of %d pages lost (%d have their old content, "
	       "%d are zeros; %d were not reclaimed)\n", argv[2], argv[3],
	       lost, PAGES, lost_old, lost_zero, left);
	return 0;
}
