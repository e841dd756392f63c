/** Requests, good and bad, each with its answer. */

import { MODIFIED, randomBytes } from "./support.js";

export const SIZE = 600_001;
export const CONTENTS = randomBytes(SIZE);
const DATE = MODIFIED.toUTCString();

export interface Case {
  /** First line of the request without the version; GET /data.bin if it's left out. */
  readonly line?: string;
  readonly headers?: Record<string, string>;
  readonly status: number;
  /** Headers of the answer. */
  readonly answers?: Record<string, string | undefined>;
  /** Bytes of the file that the body has. */
  readonly body?: [start: number, end: number];
  readonly text?: RegExp;
}

const range = (value: string): Record<string, string> => ({ Range: value });
const all: [number, number] = [0, SIZE];
const unsatisfiable = { "content-range": `bytes */${SIZE}` };
const part = (start: number, end: number) => ({
  status: 206,
  answers: { "content-range": `bytes ${start}-${end}/${SIZE}`, "content-length": `${end - start + 1}` },
  body: [start, end + 1] as [number, number],
});

export const RANGES: Record<string, Case> = {
  "no range": { status: 200, body: all, answers: { "accept-ranges": "bytes", "content-length": `${SIZE}` } },
  "first bytes": { headers: range("bytes=0-99"), ...part(0, 99) },
  "a single byte": { headers: range("bytes=5000-5000"), ...part(5000, 5000) },
  "from a byte on": { headers: range("bytes=262143-"), ...part(262_143, SIZE - 1) },
  "last bytes": { headers: range("bytes=-1"), ...part(SIZE - 1, SIZE - 1) },
  "more last bytes than there are": { headers: range("bytes=-99999999"), ...part(0, SIZE - 1) },
  "an end beyond the file": { headers: range("bytes=600000-999999999999999999999"), ...part(600_000, SIZE - 1) },
  "spaces and another case": { headers: range("Bytes= 7-8 "), ...part(7, 8) },
  "overlapping ranges": { headers: range("bytes=10-30,0-20"), ...part(0, 30) },
  "ranges that nearly touch": { headers: range("bytes=0-9,20-29"), ...part(0, 29) },
  "one range in the file, one beyond": { headers: range("bytes=700000-,1-2"), ...part(1, 2) },
  "a range that joins two": { headers: range("bytes=0-9,5000-5009,5-5005"), ...part(0, 5009) },
  "beyond the end": { headers: range(`bytes=${SIZE}-`), status: 416, answers: unsatisfiable },
  "a start of 400 digits": { headers: range(`bytes=${"9".repeat(400)}-`), status: 416, answers: unsatisfiable },
  "no last bytes": { headers: range("bytes=-0"), status: 416, answers: unsatisfiable },
  "33 ranges": { headers: range(`bytes=${"0-0,".repeat(32)}0-0`), status: 416, answers: unsatisfiable },
  "thousands of ranges": { headers: range(`bytes=${"0-,".repeat(5000)}0-`), status: 416, answers: unsatisfiable },
  "32 ranges of the same bytes": { headers: range(`bytes=${"3-,".repeat(31)}0-9`), ...part(0, SIZE - 1) },
  "an end before the start": { headers: range("bytes=9-8"), status: 200, body: all },
  "a negative start": { headers: range("bytes=-5-9"), status: 200, body: all },
  "a minus alone": { headers: range("bytes=-"), status: 200, body: all },
  "no range at all": { headers: range("bytes="), status: 200, body: all },
  "a letter": { headers: range("bytes=0-x"), status: 200, body: all },
  "a number with a sign": { headers: range("bytes=+1-5"), status: 200, body: all },
  "hexadecimal digits": { headers: range("bytes=0x1-0x5"), status: 200, body: all },
  "another unit": { headers: range("lines=0-5"), status: 200, body: all },
  "HEAD ignores ranges": {
    line: "HEAD /data.bin",
    headers: range("bytes=0-9"),
    status: 200,
    body: [0, 0],
    answers: { "content-length": `${SIZE}` },
  },
  "an empty file": { line: "GET /empty", status: 200, body: [0, 0], answers: { "content-length": "0" } },
  "the start of an empty file": { line: "GET /empty", headers: range("bytes=0-"), status: 416 },
  "last bytes of an empty file": { line: "GET /empty", headers: range("bytes=-5"), status: 200, body: [0, 0] },
};

export const PATHS: Record<string, Case> = {
  "a name with spaces and umlauts": { line: "GET /%C3%A4%20b.txt", status: 200, text: /^umlaut$/ },
  "a link inside of the folder": { line: "GET /inside", status: 200, body: all },
  "a query": { line: "GET /data.bin?a=/../", status: 200, body: all },
  "a whole URL": { line: "GET http://localhost/data.bin", status: 200, body: all },
  "a type": { line: "GET /%C3%A4%20b.txt", status: 200, answers: { "content-type": "text/plain; charset=utf-8" } },
  "no such file": { line: "GET /nothing", status: 404 },
  "a file as a folder": { line: "GET /data.bin/", status: 404 },
  "a name that is too long for a file": { line: `GET /${"a".repeat(300)}`, status: 404 },
  "..": { line: "GET /../outside", status: 400 },
  ".. in the middle": { line: "GET /folder/../../outside", status: 400 },
  "an encoded ..": { line: "GET /%2e%2e/outside", status: 400 },
  "an encoded .. twice": { line: "GET /%252e%252e/outside", status: 404 },
  "an encoded slash": { line: "GET /..%2foutside", status: 400 },
  "an encoded slash in a name": { line: "GET /folder%2fdata", status: 400 },
  "a backslash": { line: "GET /..\\outside", status: 404 },
  "a dot": { line: "GET /./data.bin", status: 400 },
  "an empty name": { line: "GET //data.bin", status: 400 },
  "an encoded NUL": { line: "GET /data.bin%00.txt", status: 400 },
  "bad percent-encoding": { line: "GET /%zz", status: 400 },
  "half of a percent-encoding": { line: "GET /data%2", status: 400 },
  "bytes that aren't UTF-8": { line: "GET /%ff%fe", status: 400 },
  "an overlong encoding of a slash": { line: "GET /..%c0%afoutside", status: 400 },
  "no path": { line: "GET http://localhost", status: 400 },
  "a fragment": { line: "GET /data.bin#a", status: 400 },
  "a star": { line: "GET *", status: 400 },
  "an overlong URL": { line: `GET /${"a/".repeat(3000)}`, status: 414 },
  "an absolute link out of the folder": { line: "GET /out", status: 403 },
  "a relative link out of the folder": { line: "GET /folder/out", status: 403 },
  "a link to a folder outside": { line: "GET /outfolder/passwd", status: 403 },
  "a link to a folder that begins alike": { line: "GET /sibling/secret", status: 403 },
  "a link to itself": { line: "GET /loop", status: 404 },
  "a dangling link": { line: "GET /dangling", status: 404 },
  "a FIFO": { line: "GET /fifo", status: 403 },
  "a device": { line: "GET /device", status: 403 },
  "a socket": { line: "GET /socket", status: 403 },
  "a folder": { line: "GET /folder/", status: 403 },
  "the folder itself": { line: "GET /", status: 403 },
  "a hidden file": { line: "GET /.hidden", status: 404 },
  POST: { line: "POST /data.bin", status: 405, answers: { allow: "GET, HEAD" } },
  DELETE: { line: "DELETE /data.bin", status: 405 },
  "a body": { headers: { "Content-Length": "5" }, status: 413, answers: { connection: "close" } },
  "a header flood": { headers: { "X-Flood": "a".repeat(20_000) }, status: 431 },
  "thousands of headers": {
    headers: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`X-${i}`, ""])),
    status: 431,
  },
};

/** Stands for the ETag of data.bin. */
export const ETAG = "<the file's>";
const earlier = new Date(MODIFIED.getTime() - 1000).toUTCString();
const later = new Date(MODIFIED.getTime() + 1000).toUTCString();
const ranged = (header: string, value: string): Record<string, string> => ({ Range: "bytes=0-9", [header]: value });

export const CONDITIONS: Record<string, Case> = {
  "If-None-Match with the ETag": {
    headers: { "If-None-Match": ETAG },
    status: 304,
    body: [0, 0],
    answers: { etag: ETAG },
  },
  "If-None-Match with its weak form": { headers: { "If-None-Match": `W/${ETAG}` }, status: 304 },
  "If-None-Match with a list": { headers: { "If-None-Match": `"a", W/"b" ,${ETAG}` }, status: 304 },
  "If-None-Match with a star": { headers: { "If-None-Match": "*" }, status: 304 },
  "If-None-Match with another": { headers: { "If-None-Match": '"a"' }, status: 200 },
  "If-None-Match that is malformed": { headers: { "If-None-Match": `a, ${ETAG}` }, status: 200 },
  "If-None-Match over If-Modified-Since": {
    headers: { "If-None-Match": '"a"', "If-Modified-Since": DATE },
    status: 200,
  },
  "If-Modified-Since then": { headers: { "If-Modified-Since": DATE }, status: 304 },
  "If-Modified-Since later": { headers: { "If-Modified-Since": later }, status: 304 },
  "If-Modified-Since earlier": { headers: { "If-Modified-Since": earlier }, status: 200 },
  "If-Modified-Since in the old forms": {
    headers: { "If-Modified-Since": "Monday, 06-May-24 07:08:09 GMT" },
    status: 304,
  },
  "If-Modified-Since in C's form": { headers: { "If-Modified-Since": "Mon May  6 07:08:09 2024" }, status: 304 },
  "If-Modified-Since that is no date": { headers: { "If-Modified-Since": "2030" }, status: 200 },
  "If-Match with the ETag": { headers: { "If-Match": ETAG }, status: 200 },
  "If-Match with its weak form": { headers: { "If-Match": `W/${ETAG}` }, status: 412 },
  "If-Match with a star": { headers: { "If-Match": "*" }, status: 200 },
  "If-Match with another": { headers: { "If-Match": '"a"' }, status: 412 },
  "If-Match over If-Unmodified-Since": { headers: { "If-Match": ETAG, "If-Unmodified-Since": earlier }, status: 200 },
  "If-Match before If-None-Match": { headers: { "If-Match": '"a"', "If-None-Match": ETAG }, status: 412 },
  "If-Unmodified-Since then": { headers: { "If-Unmodified-Since": DATE }, status: 200 },
  "If-Unmodified-Since earlier": { headers: { "If-Unmodified-Since": earlier }, status: 412 },
  "If-Unmodified-Since before If-None-Match": {
    headers: { "If-Unmodified-Since": earlier, "If-None-Match": ETAG },
    status: 412,
  },
  "If-None-Match before Range": { headers: ranged("If-None-Match", ETAG), status: 304 },
  "If-Range with the ETag": { headers: ranged("If-Range", ETAG), status: 206, body: [0, 10] },
  "If-Range with its weak form": { headers: ranged("If-Range", `W/${ETAG}`), status: 200, body: all },
  "If-Range with another": { headers: ranged("If-Range", '"a"'), status: 200, body: all },
  "If-Range with the date": { headers: ranged("If-Range", DATE), status: 206, body: [0, 10] },
  "If-Range with a later date": { headers: ranged("If-Range", later), status: 200, body: all },
  "If-Range that fails, and a range beyond the end": {
    headers: { Range: `bytes=${SIZE}-`, "If-Range": '"a"' },
    status: 200,
  },
  "HEAD with a condition": { line: "HEAD /data.bin", headers: { "If-None-Match": ETAG }, status: 304 },
};
