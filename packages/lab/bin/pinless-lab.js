#!/usr/bin/env node
// Here, not in dist/, so that npm finds a file to link in a clone that is not built yet.
import "../dist/main.js";
