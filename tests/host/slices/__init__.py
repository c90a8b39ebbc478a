"""Time slices and budgets in the asyncio host."""
