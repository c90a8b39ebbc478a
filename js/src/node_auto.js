/** `auto.js`, as Node finds it. */

import "./node_record.js";
export * from "./auto.js";
