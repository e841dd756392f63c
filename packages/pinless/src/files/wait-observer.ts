/** Notified when a call begins and ends waiting for an invalidation to end, which can take any time. */
export interface WaitObserver {
  begin(): void;
  end(): void;
}

export async function observed<T>(observer: WaitObserver | undefined, wait: () => Promise<T>): Promise<T> {
  observer?.begin();
  try {
    return await wait();
  } finally {
    observer?.end();
  }
}
