/**
 * Names of imports, exports and functions are whatever a module's author wrote, and messages end in logs and terminals, which
 * act upon some characters. So what cannot be printed is escaped in messages: the same as in the asyncio host's.
 */

// Control characters, what has no glyph of its own or is not assigned, and separators but for the blank.
const UNPRINTABLE = /[^\P{C}]|[\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

/**
 * Return a text, such as a name that a module has given, with escapes for what cannot be printed as it is. They are those of
 * JSON, so that what was JSON still is.
 * @param {string} text
 */
export const printable = (text) => text.replace(UNPRINTABLE, (one) => one.replace(/[^]/g, (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0")));
