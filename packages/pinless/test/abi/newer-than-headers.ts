// Names that Debian 12's kernel headers (6.1) don't have yet, each with where it comes from. They go unchecked there,
// and the test says so. Where the headers have the name, it's checked like any other.
export const NEWER: Readonly<Record<string, string>> = {
  IORING_SETUP_NO_MMAP: "Linux 6.5",
  "io_sqring_offsets.user_addr": "Linux 6.5",
  "io_cqring_offsets.user_addr": "Linux 6.5",
  UFFD_FEATURE_WP_ASYNC: "Linux 6.7",
  __NR_cachestat: "Linux 6.5",
  cachestat_range: "Linux 6.5",
  "cachestat_range.off": "Linux 6.5",
  "cachestat_range.len": "Linux 6.5",
  cachestat: "Linux 6.5",
  "cachestat.nr_cache": "Linux 6.5",
};
