"""The plan of a function: where frames land, what crosses a call site, which call sites are grouped."""
