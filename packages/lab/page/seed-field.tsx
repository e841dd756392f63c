/** The field for a machine's seed. */

export function SeedField({ seed, change }: { readonly seed: number; readonly change: (seed: number) => void }) {
  const changed = (text: string): void => {
    if (/^\d{1,15}$/.test(text)) change(Number(text));
  };
  return (
    <label title="The same seed makes the same machines">
      Seed
      <input
        type="number"
        min={0}
        max={999_999_999_999_999}
        step={1}
        value={seed}
        onChange={(event) => changed(event.currentTarget.value)}
      />
    </label>
  );
}
