"""The index spaces that are easily taken for one another, as types: what a function takes says which number it means.

A function has two numbers, an instruction has an index in its body and an offset in the file, a call site has a number
besides. All are integers at run time: compiled, a conversion such as `OwnFunction(own)` is nothing at all, interpreted
it is a call of 50 ns. So values get their type where they come from, in the lists of `Module`, `Body` and
`CallGraph`, and conversions stand where an index is counted or computed: once for a function or a call site, not in
loops over instructions. Plain integers stay what is counted in such loops, positions of readers on their way through
bytes, and the indices of tables, memories, globals and tags, which few functions take.
"""

from __future__ import annotations

from typing import NewType

# A function of the module, imported ones first: the index that `call` has.
FunctionIndex = NewType("FunctionIndex", int)

# A function that the module defines: its function index less the number of imported functions.
OwnFunction = NewType("OwnFunction", int)

# A type of the module.
TypeIndex = NewType("TypeIndex", int)

# A local of a function, parameters first.
LocalIndex = NewType("LocalIndex", int)

# A label as branches name it: how many constructs are open inside of the one that it belongs to.
LabelDepth = NewType("LabelDepth", int)

# An instruction of a decoded body, counted from its beginning (`analysis.body`).
InstructionIndex = NewType("InstructionIndex", int)

# A call site of a body, counted in code order: `body.sites[number]` is its instruction.
SiteNumber = NewType("SiteNumber", int)

# A place in the module's file.
ByteOffset = NewType("ByteOffset", int)
