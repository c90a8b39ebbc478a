"""Time slices: guests that compute are suspended when their time is over, and take turns.

`slicing` is what an instance with pause points has for it, `watchdog` the thread that asks guests to pause, `turns` who
goes on when, by a `policy`; a `budget` bounds a call, and `usage` tells what a guest has taken.
"""
