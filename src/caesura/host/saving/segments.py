"""Which of a module's passive segments were dropped: asked of the module, and dropped again.

Nothing tells a host. But to initialize nothing from behind the first byte of a segment traps if it was dropped, for it
has no bytes then; the module has a function for each segment that does that.
"""

from __future__ import annotations

from caesura.abi import STATE_DROP_DATA, STATE_DROP_ELEMENTS, STATE_PROBE_DATA, STATE_PROBE_ELEMENTS
from caesura.errors import SnapshotError
from caesura.host.instance import Instance
from caesura.snapshots.section import StateSection
from caesura.snapshots.state import State


def dropped_data(instance: Instance, saved: StateSection) -> tuple[int, ...]:
    """Return the data segments that were dropped."""
    return _dropped(instance, saved.data, STATE_PROBE_DATA)


def dropped_elements(instance: Instance, saved: StateSection) -> tuple[int, ...]:
    """Return the element segments that were dropped."""
    return _dropped(instance, saved.elements, STATE_PROBE_ELEMENTS)


def drop_again(instance: Instance, saved: StateSection, state: State) -> None:
    """Drop in a new instance what was dropped. Raises SnapshotError for segments that no instruction drops."""
    for what, dropped, known, prefix in (
        ("data", state.dropped_data, saved.data, STATE_DROP_DATA),
        ("element", state.dropped_elements, saved.elements, STATE_DROP_ELEMENTS),
    ):
        for index in dropped:
            if index not in known:
                raise SnapshotError(f"the snapshot has dropped {what} segment {index}, which the module never drops")
            instance.abi_function(f"{prefix}{index}")()


def _dropped(instance: Instance, segments: tuple[int, ...], prefix: str) -> tuple[int, ...]:
    return tuple(index for index in segments if not instance.abi_function(f"{prefix}{index}").attempt())
