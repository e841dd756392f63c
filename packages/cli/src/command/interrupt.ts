/** Handles Ctrl-C and other signals, so that a command can clean up before it ends. */

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

export interface Interrupt {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** Exit code that a shell expects after the signal; null if none came. */
  readonly exitCode: number | null;
  /** Restores the default action of signals. */
  stop(): void;
}

export function onInterrupt(): Interrupt {
  const controller = new AbortController();
  let exitCode: number | null = null;
  const names = Object.keys(EXIT_CODES) as (keyof typeof EXIT_CODES)[];
  const interrupted = (name: NodeJS.Signals): void => {
    exitCode ??= EXIT_CODES[name as keyof typeof EXIT_CODES];
    controller.abort();
  };
  for (const name of names) process.on(name, interrupted);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    stop() {
      for (const name of names) process.off(name, interrupted);
    },
  };
}
