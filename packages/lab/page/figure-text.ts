/** Numbers as the page shows them. */

export function count(of: number): string {
  return of.toLocaleString("en-US");
}

export function pagesOf(pages: number): string {
  return pages === 1 ? "1 page" : `${count(pages)} pages`;
}

export function milliseconds(ms: number): string {
  return `${ms.toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 })} ms`;
}
