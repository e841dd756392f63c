// Every scheme on what makes its callers wait.
import { test } from "node:test";
import { ioUringOff } from "../support/io-uring.js";
import { pipes } from "./pipes.js";

const skip = ioUringOff();
if (skip === false) pipes("io_uring");
else test("io_uring: pipes", { skip });
pipes("aio");
pipes("direct");
