"""What a guest has taken so far (`Guest.usage`)."""

from __future__ import annotations

from caesura.errors import UsageError
from caesura.host import native
from caesura.host.instance import NO_THUNKS, Instance
from caesura.host.slices.usage import Usage


def usage_of(instance: Instance) -> Usage:
    """Return what a guest has taken. Raises UsageError if it has no pause points, or is closed."""
    instance.check()
    slicing = instance.slicing
    if slicing is None:
        if instance.description.pauses_without_thunks:
            raise UsageError(f"what the guest takes is not counted: {NO_THUNKS}")
        raise UsageError(
            "what a guest takes is counted if it has pause points: load it with time_slice=SECONDS, or preempt=..."
        )
    description = instance.description
    names = {name for name in (description.memory, description.asyncify_memory) if name}
    sizes = (native.MemoryCell(instance.store.context, instance.memory_item(name)).size() for name in names)
    return Usage(
        time=slicing.time,
        fuel=slicing.used_fuel if slicing.counts_fuel else None,
        slices=slicing.slices,
        suspensions=slicing.suspensions,
        memory=sum(sizes),
    )
