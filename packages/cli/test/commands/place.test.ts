// The place that doctor runs in, its remedies there, and what is left under the filters of containers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { SYSCALLS, userfaultfdSyscall } from "../../../pinless/dist/abi/numbers.js";
import { refusing } from "../../../pinless/dist-test/support/seccomp.js";
import { filterRemedy, memlockRemedy, type Place, placeOf } from "../../dist/doctor/place.js";
import { diagnose } from "./doctor.js";

const EPERM = 1;
const ENOSYS = 38;
const RING = [SYSCALLS.__NR_io_uring_setup, SYSCALLS.__NR_io_uring_enter, SYSCALLS.__NR_io_uring_register];
const USERFAULTFD = userfaultfdSyscall(process.arch);
const BYTES = 1 << 30;

const SIGNS: readonly (readonly [Place, string, string, Readonly<Record<string, string>>])[] = [
  ["docker", "/.dockerenv", "0::/", {}],
  ["docker", "", "12:memory:/docker/0123", {}],
  ["podman", "/run/.containerenv", "0::/", {}],
  ["podman", "", "0::/machine.slice/libpod-0123.scope/container", {}],
  ["kubernetes", "/.dockerenv", "0::/", { KUBERNETES_SERVICE_HOST: "10.0.0.1" }],
  ["kubernetes", "", "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-0123.scope", {}],
  ["container", "/run/systemd/container", "0::/", {}],
  ["container", "", "0::/lxc.payload.one", {}],
  ["systemd", "", "0::/system.slice/store.service\n", { INVOCATION_ID: "0123" }],
  ["shell", "", "0::/user.slice/user-0.slice/session-1.scope\n", { INVOCATION_ID: "0123" }],
  ["shell", "", "0::/system.slice/ssh.service\n", {}],
];

for (const [place, file, cgroup, env] of SIGNS)
  test(`${place}: ${file} ${cgroup.trim()} ${Object.keys(env)}`, () => {
    assert.equal(placeOf({ env, cgroup, exists: (path) => path === file }), place);
  });

test("each place has the words of its own settings in its remedies", () => {
  const words: Readonly<Record<Place, readonly [RegExp, RegExp]>> = {
    docker: [/docker run --ulimit memlock=1073741824/, /docker run --security-opt seccomp=FILE.*io_uring_setup/],
    podman: [/podman run --ulimit memlock=1073741824/, /podman run --security-opt seccomp=FILE/],
    kubernetes: [/LimitMEMLOCK=1073741824.*containerd\.service/, /seccompProfile.*Localhost/],
    container: [/LimitMEMLOCK=1073741824/, /seccomp filter/],
    systemd: [/LimitMEMLOCK=1073741824 in the unit/, /SystemCallFilter=io_uring_setup io_uring_enter to/],
    shell: [/ulimit -l 1048576;/, /seccomp filter/],
  };
  for (const [place, [memlock, filter]] of Object.entries(words)) {
    assert.match(memlockRemedy(place as Place, BYTES), memlock);
    assert.match(filterRemedy(place as Place, "io_uring_setup, io_uring_enter"), filter);
  }
});

test("Docker's and Podman's rules: auto takes aio, and doctor names the calls to allow, as a pod has to", async () => {
  const env = { KUBERNETES_SERVICE_HOST: "10.0.0.1" };
  for (const [errno, name] of [
    [EPERM, "EPERM"],
    [ENOSYS, "ENOSYS"],
  ] as const) {
    const { findings, canRun } = await diagnose([], { env, before: refusing(errno, ...RING, USERFAULTFD) });
    const { ioUring, userfaultfd, container, engine } = findings;
    assert.deepEqual([ioUring.errno, userfaultfd.errno], [name, name]);
    assert.deepEqual([container.place, container.verdict], ["kubernetes", "degraded"]);
    assert.match(container.remedies.join(), /seccompProfile to type: Localhost.*io_uring_setup/);
    assert.match(userfaultfd.remedies.join(), /seccompProfile to type: Localhost.*userfaultfd/);
    assert.deepEqual([engine.scheme, engine.pin, canRun], ["aio", "per-io", true]);
    assert.match(engine.reasons.join(), /userfaultfd/);
  }
});
