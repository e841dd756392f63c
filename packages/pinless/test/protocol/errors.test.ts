import assert from "node:assert/strict";
import { test } from "node:test";
import { INVARIANTS, InvariantViolation, invariant, violated } from "../../dist/protocol/assert.js";
import { argumentError, ERROR_CODES, PinlessError, systemError } from "../../dist/protocol/errors.js";

test("systemError has the shape of Node's", () => {
  const describe = (errno: number): [string, string] => [errno === -28 ? "ENOSPC" : "?", "no space left on device"];
  const error = systemError(describe, -28, "write", "/a file");
  assert.ok(error instanceof Error);
  assert.equal(error.message, "ENOSPC: no space left on device, write '/a file'");
  const { code, errno, syscall, path } = error;
  assert.deepEqual({ code, errno, syscall, path }, { code: "ENOSPC", errno: -28, syscall: "write", path: "/a file" });
  const pathless = systemError(describe, -28, "write");
  assert.equal(pathless.message, "ENOSPC: no space left on device, write");
  assert.equal("path" in pathless, false);
});

test("argumentError is a RangeError for ERR_OUT_OF_RANGE, else a TypeError, with Node's code", () => {
  for (const [code, type] of [
    ["ERR_OUT_OF_RANGE", RangeError],
    ["ERR_INVALID_ARG_TYPE", TypeError],
    ["ERR_INVALID_ARG_VALUE", TypeError],
  ] as const) {
    const error = argumentError(code, "why");
    assert.ok(error instanceof type);
    assert.deepEqual([(error as Error & { code: string }).code, error.message], [code, "why"]);
  }
});

test("ERROR_CODES begin with ERR_PINLESS_, and a PinlessError carries one", () => {
  for (const code of Object.keys(ERROR_CODES)) assert.match(code, /^ERR_PINLESS_[A-Z_]+$/);
  const error = new PinlessError("ERR_PINLESS_CLOSED", "the engine was closed");
  assert.deepEqual(
    [error.name, error.code, error.message],
    ["PinlessError", "ERR_PINLESS_CLOSED", "the engine was closed"],
  );
});

test("invariant and violated throw an InvariantViolation that names the invariant", () => {
  invariant("LINEAR", true, "nothing");
  for (const name of INVARIANTS) {
    for (const throwIt of [() => invariant(name, false, "found"), () => violated(name, "found")]) {
      assert.throws(throwIt, (error) => {
        assert.ok(error instanceof InvariantViolation);
        assert.deepEqual(
          [error.invariant, error.code, error.message],
          [name, "ERR_PINLESS_INVARIANT", `${name}: found`],
        );
        return true;
      });
    }
  }
});
