"""Facts about a module: its calls, which functions may suspend and why, the shape of bodies, liveness."""
