/** The program: see --help. */

import { HELP, optionsOf } from "./options.js";
import { FileServer } from "./server.js";

process.exitCode = await run();

async function run(): Promise<number> {
  let options: ReturnType<typeof optionsOf>;
  try {
    // Of `npm start -w …` the folder is meant from where the user is, and npm has gone elsewhere.
    options = optionsOf(process.argv.slice(2), process.env.INIT_CWD ?? process.cwd());
  } catch (error) {
    console.error(`${(error as Error).message}\n--help shows the options`);
    return 2;
  }
  if (options === null) {
    console.log(HELP);
    return 0;
  }
  let server: FileServer;
  try {
    server = await FileServer.start(options);
  } catch (error) {
    console.error(`the server can't start: ${(error as Error).message}`);
    return 1;
  }
  console.log(`http://${options.host}:${server.port}/ serves ${options.folder}, read by ${options.reader}`);
  if (server.metricsPort !== null) console.log(`http://127.0.0.1:${server.metricsPort}/-/metrics has the figures`);
  const cut = await new Promise<number>((resolve, reject) => {
    const stop = (): void => void server.stop().then(resolve, reject);
    process.on("SIGTERM", stop).on("SIGINT", stop);
  });
  if (cut > 0) console.error(`${cut} responses were cut`);
  return 0;
}
