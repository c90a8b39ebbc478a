"""Why functions are instrumented, what that costs, and what would spare it: for `caesura explain` and `caesura diff`.

Nothing here takes part in the transformation. A module is instrumented as ever, and what was known for that is looked
at once more, as a graph: from what a suspension can start in to everything that it spreads to.
"""
