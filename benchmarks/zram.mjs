// A zram disk with ext4 and a file of zeros on it, made and removed again. Root only.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FILE_BYTES = 512 << 20;

/** `{ path, remove }`; throws with what to do instead. */
export function zramFile(folder) {
  if (process.getuid() !== 0)
    throw new Error("a zram disk takes root: give --file a file on a filesystem with direct I/O instead");
  const number = readFileSync("/sys/class/zram-control/hot_add", "utf8").trim();
  const device = `/dev/zram${number}`;
  const mount = join(folder, "zram");
  let mounted = false;
  const remove = () => {
    if (mounted) unmount(mount);
    mounted = false;
    writeFileSync("/sys/class/zram-control/hot_remove", number);
  };
  try {
    writeFileSync(`/sys/block/zram${number}/disksize`, String(2 * FILE_BYTES));
    execFileSync("mkfs.ext4", ["-q", device]);
    mkdirSync(mount);
    execFileSync("mount", [device, mount]);
    mounted = true;
    const path = join(mount, "file");
    execFileSync("dd", [
      "if=/dev/zero",
      `of=${path}`,
      "bs=1M",
      `count=${FILE_BYTES >> 20}`,
      "conv=fsync",
      "status=none",
    ]);
    return { path, remove };
  } catch (error) {
    remove();
    throw error;
  }
}

/** The kernel ends a dead process's rings, and with them the files they hold, a moment after the process. */
function unmount(mount) {
  for (let tries = 50; ; tries--) {
    try {
      execFileSync("umount", [mount], { stdio: ["ignore", "ignore", tries === 0 ? "inherit" : "ignore"] });
      return;
    } catch (error) {
      if (tries === 0) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
  }
}
