// SPDX-License-Identifier: MIT
/*
 * What it costs to register 2 MiB with io_uring while n other registrations
 * of 2 MiB in 4 KiB pages are live; for n from 0 to MAX.
 *
 *	cc -O2 accounting.c -o accounting -luring
 *	accounting MAX
 *
 * The 2 MiB are 512 pages of 4 KiB (the control), one huge page, or 32 folios
 * of 64 KiB where the kernel gives some:
 *	echo madvise > /sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled
 * Needs MAX * 2 MiB of memory, which RLIMIT_MEMLOCK must allow to be locked.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25	/* since 6.1 */
#endif

#define KIB		1024L
#define BYTES		(2048 * KIB)
#define TRIES		5
#define CANT_RUN	77

static struct io_uring ring;

static void fail(int status, const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(error));
	exit(status);
}

/* Slot 0 is for what is measured, the others are for the live ones. */
static void set_slot(int slot, void *memory, size_t bytes)
{
	struct iovec iov = { .iov_base = memory, .iov_len = bytes };
	__u64 tag = 0;
	int ret;

	ret = io_uring_register_buffers_update_tag(&ring, slot, &iov, &tag, 1);
	if (ret != 1)
		fail(ret == -ENOMEM ? CANT_RUN : 2, "register", -ret);
}

/* The shortest of a few: nothing but the work itself is in it. */
static double register_us(void *memory)
{
	struct timespec from, to;
	double us, best = 0;
	int i;

	for (i = 0; i < TRIES; i++) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		set_slot(0, memory, BYTES);
		clock_gettime(CLOCK_MONOTONIC, &to);
		set_slot(0, NULL, 0);
		us = (to.tv_sec - from.tv_sec) * 1e6 +
		     (to.tv_nsec - from.tv_nsec) / 1e3;
		if (i == 0 || us < best)
			best = us;
	}
	return best;
}

static long pinned_kib(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];
	long kib = 0;

	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "VmPin: %ld kB", &kib) == 1)
			break;
	if (status)
		fclose(status);
	return kib;
}

/* A folio is charged as a whole for any page of it: this tells its size. */
static long folio_kib(char *memory)
{
	long before = pinned_kib(), during;

	set_slot(0, memory, 4 * KIB);
	during = pinned_kib();
	set_slot(0, NULL, 0);
	return during - before;
}

static char *map(size_t bytes, int advice)
{
	char *memory = mmap(NULL, bytes + BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail(CANT_RUN, "mmap", errno);
	memory += -(unsigned long)memory & (BYTES - 1);
	madvise(memory, bytes, advice);
	return memory;
}

int main(int argc, char **argv)
{
	int max = argc == 2 ? atoi(argv[1]) : 0, n = 0, next, ret;
	char *live, *small, *huge, *folios;

	if (max < 8) {
		fprintf(stderr, "usage: accounting MAX (8 or more)\n");
		return 2;
	}
	ret = io_uring_queue_init(4, &ring, 0);
	if (ret)
		fail(CANT_RUN, "io_uring_setup", -ret);
	ret = io_uring_register_buffers_sparse(&ring, max + 1);
	if (ret)
		fail(CANT_RUN, "sparse table", -ret);

	live = map(max * BYTES, MADV_NOHUGEPAGE);
	memset(live, 1, max * BYTES);
	small = map(BYTES, MADV_NOHUGEPAGE);
	memset(small, 1, BYTES);

	/* Collapsed by hand, so that no setting of the machine matters. */
	huge = map(BYTES, MADV_NOHUGEPAGE);
	memset(huge, 1, BYTES);
	madvise(huge, BYTES, MADV_HUGEPAGE);
	if (madvise(huge, BYTES, MADV_COLLAPSE))
		fail(CANT_RUN, "MADV_COLLAPSE", errno);

	/* A part of a huge page's range can only get smaller folios. */
	folios = map(2 * BYTES, MADV_HUGEPAGE) + BYTES / 2;
	if (munmap(folios - BYTES / 2, BYTES / 2) ||
	    munmap(folios + BYTES, BYTES / 2))
		fail(2, "munmap", errno);
	memset(folios, 1, BYTES);
	if (folio_kib(folios) != 64)
		folios = NULL;

	printf("live  of 4 KiB pages  one huge page  of 64 KiB folios\n");
	for (next = 0; next <= max; next = next ? next * 2 : max / 8) {
		for (; n < next; n++)
			set_slot(n + 1, live + n * BYTES, BYTES);
		printf("%4d  %11.1f us  %10.1f us  ", n, register_us(small),
		       register_us(huge));
		if (folios)
			printf("%13.1f us\n", register_us(folios));
		else
			printf("%16s\n", "none here");
	}
	return 0;
}
