// The first process of a guest: mounts what a system has, and runs test files.
import { closeSync, openSync, readdirSync } from "node:fs";
import koffi from "koffi";

const FINIT_MODULE = 313;
/** The kernel unpacks the module itself. */
const MODULE_INIT_COMPRESSED_FILE = 4;
const RB_AUTOBOOT = 0x1234567;

const lib = koffi.load(null);
const mount = lib.func("int mount(str source, str target, str type, unsigned long flags, str data)");
const finitModule = lib.func("long syscall(long number, long fd, str parameters, long flags)");
const reboot = lib.func("int reboot(int how)");

function mounted(source: string, target: string, type: string): void {
  if (mount(source, target, type, 0, null) !== 0) throw new Error(`mount ${target}: errno ${koffi.errno()}`);
}

function load(driver: string): void {
  const fd = openSync(driver, "r");
  const flags = driver.endsWith(".ko") ? 0 : MODULE_INIT_COMPRESSED_FILE;
  if (finitModule(FINIT_MODULE, fd, "", flags) !== 0) throw new Error(`${driver}: errno ${koffi.errno()}`);
  closeSync(fd);
}

// The machine ends with its first process, before Node would say what went wrong.
process.on("exit", () => reboot(RB_AUTOBOOT));
process.on("uncaughtException", (error) => {
  console.error(error);
  process.exit(1);
});

mounted("proc", "/proc", "proc");
mounted("sys", "/sys", "sysfs");
mounted("dev", "/dev", "devtmpfs");
for (const driver of readdirSync("/drivers").sort()) load(`/drivers/${driver}`);
// Scratch space, around the page cache on a disk with DMA.
mounted("/dev/vda", "/tmp", "ext4");
for (const file of process.argv.slice(2)) await import(`/pinless/packages/pinless/${file}`);
