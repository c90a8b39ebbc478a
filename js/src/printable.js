/**
 * Names of imports, exports and functions are whatever a module's author wrote, and messages end in logs and terminals, which
 * act upon some characters. So what cannot be printed is escaped in messages, as the asyncio host does it.
 */

// Control characters, what has no glyph of its own or is not assigned, and separators but for the blank.
const UNPRINTABLE = /[^\P{C}]|[\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

/** Return a text, such as a name that a module has given, with escapes for what cannot be printed as it is. @param {string} text */
export const printable = (text) =>
  text.replace(UNPRINTABLE, (one) => {
    const code = /** @type {number} */ (one.codePointAt(0));
    const [prefix, digits] = code < 256 ? ["\\x", 2] : code < 65536 ? ["\\u", 4] : ["\\U", 8];
    return prefix + code.toString(16).padStart(digits, "0");
  });
