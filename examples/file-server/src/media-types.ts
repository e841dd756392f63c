/** Content types by the ending of a name. */

import path from "node:path";

const text = (type: string): string => `text/${type}; charset=utf-8`;

const TYPES: Readonly<Record<string, string>> = {
  ...{ txt: text("plain"), log: text("plain"), md: text("markdown"), html: text("html"), htm: text("html") },
  ...{ css: text("css"), csv: text("csv"), js: text("javascript"), mjs: text("javascript"), xml: "application/xml" },
  ...{ json: "application/json", wasm: "application/wasm", pdf: "application/pdf", epub: "application/epub+zip" },
  ...{ png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp" },
  ...{ avif: "image/avif", svg: "image/svg+xml", ico: "image/x-icon", woff: "font/woff", woff2: "font/woff2" },
  ...{ mp3: "audio/mpeg", ogg: "audio/ogg", opus: "audio/ogg", flac: "audio/flac", wav: "audio/wav", m4a: "audio/mp4" },
  ...{ mp4: "video/mp4", webm: "video/webm", mkv: "video/matroska", zip: "application/zip", gz: "application/gzip" },
};

export function mediaTypeOf(name: string): string {
  return TYPES[path.extname(name).slice(1).toLowerCase()] ?? "application/octet-stream";
}
