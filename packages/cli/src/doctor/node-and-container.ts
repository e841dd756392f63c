/** Surroundings of the process: Node, and the container that it may be in. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { AIO_CALLS, cgroupsOf, RING_CALLS, readText } from "pinless/internal";
import { bytesText } from "../command/figures.js";
import { degraded, type Found, missing, ok } from "./finding.js";
import { field, readNumber } from "./kernel-files.js";
import { filterRemedy, type Place } from "./place.js";
import type { AioFacts, RingFacts } from "./schemes.js";

export interface NodeFacts {
  readonly version: string;
  readonly arch: string;
  /** True if Node's permission model is on. */
  readonly permissionModel: boolean;
  /** True if koffi, the add-on for system calls, could be loaded. */
  readonly addOn: boolean;
  readonly webAssembly: boolean;
}

/** Examines Node. `noAddOn` is the error of loading koffi, or null. */
export function examineNode(noAddOn: Error | null): Found<NodeFacts> {
  const permissionModel = "permission" in process;
  const webAssembly = "WebAssembly" in globalThis;
  const facts = { version: process.version, arch: process.arch, permissionModel, addOn: noAddOn === null, webAssembly };
  const said = `${process.version} ${process.arch}${permissionModel ? ", permission model on" : ""}`;
  const lacks: string[] = [];
  const remedies: string[] = [];
  if (noAddOn !== null) {
    const cause = noAddOn.cause instanceof Error ? noAddOn.cause : noAddOn;
    lacks.push(`koffi can't be loaded: ${cause.message.split("\n")[0]}`);
    remedies.push(
      permissionModel
        ? "Start node with --allow-addons and --allow-worker."
        : "Install pinless again on this machine (npm ci): koffi's binary is a package of its own.",
    );
  }
  if (!webAssembly) {
    lacks.push("no WebAssembly, which arenas need");
    remedies.push("Start node without --jitless.");
  }
  if (lacks.length === 0) return { ...ok(`${said}, add-on loaded`), ...facts };
  return { ...missing(`${said}; ${lacks.join("; ")}`, ...remedies), ...facts };
}

export interface ContainerFacts {
  readonly place: Place;
  /** Signs of a container, e.g. "/.dockerenv". */
  readonly hints: readonly string[];
  readonly seccomp: "off" | "strict" | "filter" | null;
  readonly noNewPrivileges: boolean;
  /** Limit of this process's memory cgroup and its ancestors; null for none. */
  readonly memoryLimitBytes: number | null;
  readonly memoryUsedBytes: number | null;
  readonly swapLimitBytes: number | null;
}

const SECCOMP = ["off", "strict", "filter"] as const;

export function examineContainer(place: Place, ring: RingFacts, aio: AioFacts): Found<ContainerFacts> {
  const status = readText("/proc/self/status") ?? "";
  const seccomp = SECCOMP[Number(field(status, "Seccomp") ?? -1)] ?? null;
  const hints = containerHints();
  const cgroup = memoryCgroup();
  const facts = { place, hints, seccomp, noNewPrivileges: field(status, "NoNewPrivs") === "1", ...cgroup };
  const signs = hints.length === 0 ? "no sign of a container" : `${place} (${hints.join(", ")})`;
  const parts = [place === "systemd" ? "a systemd service" : signs];
  parts.push(seccomp === "filter" ? "a seccomp filter is set" : `seccomp ${seccomp ?? "unknown"}`);
  const { memoryLimitBytes, memoryUsedBytes } = cgroup;
  if (memoryLimitBytes === null) parts.push("no memory limit");
  else
    parts.push(
      "memory limited to " +
        `${bytesText(memoryLimitBytes)}${memoryUsedBytes === null ? "" : `, ${bytesText(memoryUsedBytes)} used`}`,
    );
  const found = parts.join("; ");
  const isHidden = ({ errno }: { readonly errno: string | null }): boolean => errno === "EPERM" || errno === "ENOSYS";
  const calls = [...(isHidden(ring) ? [RING_CALLS] : []), ...(isHidden(aio) ? [AIO_CALLS] : [])];
  if (seccomp !== "filter" || calls.length === 0) return { ...ok(found), ...facts };
  return {
    ...degraded(found, `It may be the filter that refuses them. ${filterRemedy(place, calls.join(", "))}`),
    ...facts,
  };
}

function containerHints(): readonly string[] {
  const hints = ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"].filter((path) => existsSync(path));
  // Only root may read it.
  const named = /(?:^|\0)container=([^\0]*)/.exec(readText("/proc/1/environ") ?? "")?.[1];
  if (named !== undefined) hints.push(`container=${named}`);
  const manager = /docker|kubepods|containerd|libpod|lxc|crio/.exec(readText("/proc/self/cgroup") ?? "")?.[0];
  if (manager !== undefined) hints.push(`cgroup ${manager}`);
  // NStgid has a pid for each nested PID namespace.
  const numbers = field(readText("/proc/self/status") ?? "", "NStgid")?.split(/\s+/).length ?? 1;
  if (numbers > 1) hints.push("PID namespace");
  return hints;
}

type CgroupFacts = Pick<ContainerFacts, "memoryLimitBytes" | "memoryUsedBytes" | "swapLimitBytes">;

export function memoryCgroup(): CgroupFacts {
  const { limits } = cgroupsOf(readText("/proc/self/cgroup") ?? "", readText("/proc/self/mountinfo") ?? "", readText);
  const least = (of: (directory: string) => number | null): number | null => {
    const found = limits.map(({ directory }) => of(directory)).filter((bytes) => bytes !== null);
    return found.length === 0 ? null : Math.min(...found);
  };
  const memoryLimit = (directory: string): number | null =>
    limitIn(join(directory, "memory.max")) ?? limitIn(join(directory, "memory.limit_in_bytes"));
  return {
    memoryLimitBytes: least(memoryLimit),
    memoryUsedBytes: limits[0] === undefined ? null : readNumber(limits[0].usage),
    swapLimitBytes: least((directory) => {
      // This limit of version 1 is for memory and swap together.
      const both = limitIn(join(directory, "memory.memsw.limit_in_bytes"));
      return both === null ? limitIn(join(directory, "memory.swap.max")) : both - (memoryLimit(directory) ?? both);
    }),
  };
}

/** Limit in bytes; null for "max", for version 1's equivalent (the largest number of pages), or without such a file. */
function limitIn(path: string): number | null {
  const NO_LIMIT = 2 ** 62;
  const text = readText(path)?.trim() ?? "";
  return /^\d+$/.test(text) && Number(text) < NO_LIMIT ? Number(text) : null;
}
