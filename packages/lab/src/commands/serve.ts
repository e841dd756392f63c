/** `pinless-lab serve`: the lab's page, on this machine's loopback address. */

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { complain, explaining, FAILED, onInterrupt, print, UsageError, wholeNumber } from "@pinless/cli/command";
import { Command } from "commander";
import { PageServer } from "./page-server.js";

interface ServeFlags {
  readonly port: number;
  readonly open: boolean;
}

const PAGE = fileURLToPath(new URL("../page", import.meta.url));
const HELP = `
Prints the page's address, whose token lets nobody else read it, and opens it
in a browser. Ends with Ctrl-C. The files of the page are in ${"dist/page"} of
the package: any web server can serve them, without "This host".`;

export function serveCommand(): Command {
  return new Command("serve")
    .description("Serves a page on which to look at pins and leases, on this machine only")
    .option("--port <n>", "port of the loopback address; 0 is a free one", wholeNumber(0, 65_535), 0)
    .option("--no-open", "opens no browser")
    .addHelpText("after", HELP)
    .showHelpAfterError("(try pinless-lab serve --help)")
    .action((flags: ServeFlags) => explaining("pinless-lab serve", FAILED, [UsageError], () => serve(flags)));
}

async function serve({ port, open }: ServeFlags): Promise<void> {
  const server = await listen(port);
  print(`${server.url}\n`);
  if (open) openBrowser(server.url);
  const interrupt = onInterrupt();
  await new Promise<void>((resolve) => interrupt.signal.addEventListener("abort", () => resolve(), { once: true }));
  await server.close();
  interrupt.stop();
  if (interrupt.exitCode !== null) process.exitCode = interrupt.exitCode;
}

async function listen(port: number): Promise<PageServer> {
  try {
    return await PageServer.listen({ folder: PAGE, port, live: {} });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EADDRINUSE")
      throw new UsageError(`port ${port} is in use: choose another one, or leave --port out for a free one`);
    if (code === "EACCES") throw new UsageError(`port ${port} is for root: choose one from 1024 on`);
    throw new UsageError(`the page can't be served: ${message}`);
  }
}

/** Opens the page in the user's browser, if there's a program for that. */
function openBrowser(url: string): void {
  const opener = process.platform === "darwin" ? "open" : "xdg-open";
  const child = spawn(opener, [url], { stdio: "ignore", detached: true });
  child.on("error", () => complain("pinless-lab serve", `${opener} isn't there: open the address yourself`));
  child.unref();
}
