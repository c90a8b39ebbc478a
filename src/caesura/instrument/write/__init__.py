"""The new bodies of functions, written from their plans and frames; nothing is decided here that the plan can know."""
