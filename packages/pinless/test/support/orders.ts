/** All interleavings of several actors' steps. */

/** One step of an actor; false if it has to wait for another actor. */
export type Step = () => boolean;

/**
 * Goes through all of them, restores the state in between, and calls `atEnd` at the end of each. Throws where all wait.
 * Returns the number of orders.
 */
export function everyOrder(state: Int32Array, actors: readonly (readonly Step[])[], atEnd: () => void): number {
  const at = actors.map(() => 0);
  let orders = 0;
  const goOn = (): void => {
    const before = state.slice();
    let gone = false;
    for (const [actor, steps] of actors.entries()) {
      const step = steps[at[actor]!];
      if (step?.()) {
        gone = true;
        at[actor]!++;
        goOn();
        at[actor]!--;
      }
      state.set(before);
    }
    if (gone) return;
    if (actors.some((steps, actor) => at[actor]! < steps.length)) throw new Error(`all wait, after ${at.join(", ")}`);
    orders++;
    atEnd();
  };
  goOn();
  return orders;
}
