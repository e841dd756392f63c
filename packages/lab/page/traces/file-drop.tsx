/** A place to drop a file; the field in it picks one with the keyboard. */

import { useEffect, useState } from "preact/hooks";

interface FileDropProps {
  readonly label: string;
  readonly open: (file: File) => void;
}

export function FileDrop({ label, open }: FileDropProps) {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    // A file that misses the place would replace the page.
    const stay = (event: Event): void => event.preventDefault();
    addEventListener("dragover", stay);
    addEventListener("drop", stay);
    return () => {
      removeEventListener("dragover", stay);
      removeEventListener("drop", stay);
    };
  }, []);
  const dropped = (file: File | null | undefined): void => {
    setOver(false);
    if (file !== null && file !== undefined) open(file);
  };
  return (
    <label
      class={`panel drop ${isOver ? "over" : ""}`}
      onDragOver={() => setOver(true)}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => dropped(event.dataTransfer?.files[0])}
    >
      <span>{label}. Drop it here, or</span>
      <input
        type="file"
        accept=".json,application/json"
        onChange={({ currentTarget }) => {
          dropped(currentTarget.files?.[0]);
          // The same file can be picked again.
          currentTarget.value = "";
        }}
      />
    </label>
  );
}
