// Asyncify's state for dynamically linked modules: later versions of Emscripten define it themselves.
mergeInto(LibraryManager.library, {
  __asyncify_state: "new WebAssembly.Global({value: 'i32', mutable: true}, 0)",
  __asyncify_data: "new WebAssembly.Global({value: 'i32', mutable: true}, 0)",
});
