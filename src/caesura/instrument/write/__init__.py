"""The new bodies of functions, written from their plans and frames."""
