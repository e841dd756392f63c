/** Notified when a call begins and ends waiting for an invalidation to end, which can take any time. */
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
