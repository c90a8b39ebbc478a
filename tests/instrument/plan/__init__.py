"""The planner and what it is made of, on small bodies: each is text, and so is the expected plan."""
