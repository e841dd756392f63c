/** Told while a call waits for memory: for an invalidation to end, which may take as long as it likes. */
export interface Pause {
  begin(): void;
  end(): void;
}

export async function paused<T>(pause: Pause | undefined, wait: () => Promise<T>): Promise<T> {
  pause?.begin();
  try {
    return await wait();
  } finally {
    pause?.end();
  }
}
