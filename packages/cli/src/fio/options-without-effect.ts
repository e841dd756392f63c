/** Options that change nothing here, and options that can't be honoured: each with the reason. */

import { accepted, type OptionRow, refused } from "./option-row.js";

export const ACCEPTED_OPTIONS: readonly OptionRow[] = [
  accepted("thread", "jobs are threads in any case"),
  accepted("userspace_reap", "completions of aio are taken from its ring in any case"),
  accepted("nonvectored force_async", "the engine has a call of its own for each kind of I/O"),
  accepted("create_serialize create_on_open create_fsync", "files are laid out by one thread, before the jobs"),
  accepted("disk_util", "the report has no figures of disks"),
  accepted("lockfile", "threads don't lock files", /^none$/),
  accepted("io_submit_mode", "I/Os are submitted by the job's thread", /^inline$/),
  accepted("verify_state_save verify_dump", "nothing is kept of a run that was broken off"),
  accepted("stats", "every job is in the report", /^1$/),
  accepted("unique_filename", "names of files follow filename_format"),
  accepted("mem iomem", "buffers are memory of an arena", /^(malloc|mmap|shm)$/),
  accepted("ignore_error error_dump", "failed I/Os are told of with their errno", /^[01]$/),
  accepted("nice prio prioclass", "threads have the priority of the process", /^0$/),
  accepted("rwmixcycle", "fio has given it up"),
  accepted("group", "fio's groups are by stonewall and new_group"),
];

export const REFUSED_OPTIONS: readonly OptionRow[] = [
  refused("cpumask cpus_allowed cpus_allowed_policy", "threads of Node can't be bound to CPUs; run under taskset"),
  refused("numa_cpu_nodes numa_mem_policy", "threads of Node can't be bound to nodes; run under numactl"),
  refused("hugepage-size iomem_align mem_align", "arenas choose alignment and pages themselves"),
  refused("lockmem", "no memory is locked beside the buffers"),
  refused("zonemode zonesize zonerange zoneskip max_open_zones job_max_open_zones zone_reset_threshold", "no zones"),
  refused("read_beyond_wp zone_reset_frequency ignore_zone_limits", "no zones"),
  refused("read_iolog write_iolog replay_no_stall replay_redirect replay_scale replay_align", "no I/O is replayed"),
  refused("merge_blktrace_file merge_blktrace_scalars merge_blktrace_iters", "no I/O is replayed"),
  refused("verify_async verify_async_cpus", "blocks are checked by the job's thread"),
  refused("verify_backlog verify_backlog_batch", "blocks are checked after all are written"),
  refused(
    "verify_state_load verify_only experimental_verify",
    "blocks are checked in the run that wrote them, or by a job that reads",
  ),
  refused("trim_percentage trim_verify_zero trim_backlog trim_backlog_batch", "devices aren't told to discard"),
  refused("dedupe_percentage dedupe_mode dedupe_working_set_percentage dedupe_global", "buffers aren't repeated"),
  refused("buffer_pattern_file", "patterns are given in the job"),
  refused("flow flow_id flow_watermark flow_sleep", "jobs aren't balanced against each other"),
  refused("exec_prerun exec_postrun", "no programs are run"),
  refused("ioscheduler", "schedulers of devices aren't changed"),
  refused("cgroup cgroup_weight cgroup_nodelete uid gid", "threads are in the group, and of the user, of the process"),
  refused("gtod_cpu job_start_clock_id log_alternate_epoch", "there's one clock"),
  refused("write_hist_log log_hist_msec log_hist_coarseness log_prio", "logs have values, no histograms"),
  refused("log_compression log_compression_cpus log_store_compressed block_error_percentiles", "logs are text"),
  refused("cmdprio_percentage cmdprio_class cmdprio cmdprio_bssplit hipri_percentage", "I/Os have no priority"),
  refused("sqthread_poll_cpu sync_file_range write_barrier opendir fill_device profile", "pinless has nothing like it"),
  refused("bs_is_seq_rand serialize_overlap exit_what idle_prof nowait rwf_nowait", "pinless has nothing like it"),
];
