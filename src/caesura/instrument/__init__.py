"""The transformation: from a module and options to the instrumented module.

`pipeline` says in which order its rooms work. `abi` adds what the whole module needs; for each function, `plan`
decides where frames land, `frames` what they hold (`planned_function` calls both), and `write` writes the new bodies.
What is refused is told from here too. `emscripten_js` is for before all that: it returns a module with the names that
the JavaScript beside it has.
"""
