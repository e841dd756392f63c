/** Place that this process runs in, and how to allow something there. */

import { existsSync } from "node:fs";
import { readText } from "pinless/internal";

/** `"container"` is one whose manager is unknown; `"shell"` is none of the others. */
export type Place = "docker" | "podman" | "kubernetes" | "container" | "systemd" | "shell";

/** Signs that a place is recognised by. */
export interface PlaceSigns {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Contents of /proc/self/cgroup. */
  readonly cgroup: string;
  exists(path: string): boolean;
}

const HERE: PlaceSigns = { env: process.env, cgroup: readText("/proc/self/cgroup") ?? "", exists: existsSync };

/** Recognises the place. Kubernetes comes first, because its pods also have the signs of the runtime below. */
export function placeOf({ env, cgroup, exists }: PlaceSigns = HERE): Place {
  if (env.KUBERNETES_SERVICE_HOST !== undefined || cgroup.includes("kubepods")) return "kubernetes";
  if (exists("/run/.containerenv") || cgroup.includes("libpod")) return "podman";
  if (exists("/.dockerenv") || cgroup.includes("docker")) return "docker";
  if (exists("/run/systemd/container") || /containerd|lxc|crio/.test(cgroup)) return "container";
  // Programs that a user's desktop started inherit INVOCATION_ID from a service; their cgroup is a scope.
  return env.INVOCATION_ID !== undefined && /\.service$/m.test(cgroup) ? "systemd" : "shell";
}

/** Sentence that says how to raise RLIMIT_MEMLOCK there. */
export function memlockRemedy(place: Place, bytes: number): string {
  switch (place) {
    case "docker":
    case "podman":
      return `Start the container with ${place} run --ulimit memlock=${bytes}.`;
    case "kubernetes":
      return (
        `A pod can't raise it: set LimitMEMLOCK=${bytes} for the container runtime of the node ` +
        "(containerd.service, crio.service)."
      );
    case "container":
      return `Raise it in the container's settings, or by LimitMEMLOCK=${bytes} for its runtime.`;
    case "systemd":
      return `Set LimitMEMLOCK=${bytes} in the unit's [Service] section.`;
    case "shell":
      return `Raise it by ulimit -l ${bytes / 1024}; the hard limit is in /etc/security/limits.conf (memlock).`;
  }
}

/** Sentence that says how to allow system calls that a seccomp filter refuses there. */
export function filterRemedy(place: Place, calls: string): string {
  switch (place) {
    case "docker":
    case "podman":
      return (
        `Start the container with ${place} run --security-opt seccomp=FILE: its default profile, ` +
        `with ${calls} added.`
      );
    case "kubernetes":
      return `Set securityContext.seccompProfile to type: Localhost, with a profile on the node that allows ${calls}.`;
    case "systemd":
      return `Add SystemCallFilter=${calls.replaceAll(",", "")} to the unit's [Service] section.`;
    case "container":
    case "shell":
      return `Have the seccomp filter that this process was started with allow ${calls}.`;
  }
}
