// The same bodies on a simulated kernel, in virtual time: what passes on the one and not on the other is a mistake in
// one of them.
import { conformance } from "../../../pinless/dist-test/conformance/conformance.js";
import { fileArenas } from "../../../pinless/dist-test/conformance/file-arenas.js";
import { modelGround } from "./ground.js";

conformance(modelGround("io_uring", "lease"));
fileArenas(modelGround("io_uring", "lease"));
