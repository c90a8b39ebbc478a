"""caesura: pause, save and resume any WebAssembly program.

What runs guests needs Wasmtime, and is imported when it is first asked for: the transformation works without. So is
what is rarely needed.
"""

from typing import TYPE_CHECKING, Any

from caesura.errors import (
    CaesuraError,
    InternalError,
    MalformedModule,
    ModuleError,
    ResourceError,
    SnapshotError,
    UnsupportedModule,
    UsageError,
)
from caesura.host.errors import GuestExit, GuestTrap
from caesura.instrument.api import body_entries, instrument
from caesura.options import Options
from caesura.recording.place import fix_recording_path

if TYPE_CHECKING:
    from caesura.host.cache import CacheWarning
    from caesura.host.guest import Guest
    from caesura.host.imports import EXTERNAL, yielding
    from caesura.host.interruption import Interruptions
    from caesura.host.lifetime import limit_guests
    from caesura.host.loading import Program, compile, load  # noqa: A004
    from caesura.host.memory import GuestMemory
    from caesura.host.pending import BudgetExhausted, PendingCall
    from caesura.host.references import FunctionReference
    from caesura.host.restoring import restore
    from caesura.host.slices.budget import Budget
    from caesura.host.slices.policy import FairShares, Policy, Share
    from caesura.host.slices.turns import use_policy
    from caesura.host.slices.usage import Usage
    from caesura.host.snapshot import Snapshot
    from caesura.host.wasi.wasi import Wasi
    from caesura.instrument.emscripten_js import Named, name_emscripten
    from caesura.profiles.reading import read_profile
    from caesura.report import FunctionReport, Instrumented

__version__ = "0.1.0"

__all__ = [
    "EXTERNAL",
    "Budget",
    "BudgetExhausted",
    "CacheWarning",
    "CaesuraError",
    "FairShares",
    "FunctionReference",
    "FunctionReport",
    "Guest",
    "GuestExit",
    "GuestMemory",
    "GuestTrap",
    "Instrumented",
    "InternalError",
    "Interruptions",
    "MalformedModule",
    "ModuleError",
    "Named",
    "Options",
    "PendingCall",
    "Policy",
    "Program",
    "ResourceError",
    "Share",
    "Snapshot",
    "SnapshotError",
    "UnsupportedModule",
    "Usage",
    "UsageError",
    "Wasi",
    "__version__",
    "body_entries",
    "compile",
    "instrument",
    "limit_guests",
    "load",
    "name_emscripten",
    "read_profile",
    "restore",
    "use_policy",
    "yielding",
]

# Not when a guest is loaded first: the process may be elsewhere by then.
fix_recording_path()

# Where the names come from that are imported when they are asked for.
_LATE_NAMES = {
    "CacheWarning": "host.cache",
    "Budget": "host.slices.budget",
    "BudgetExhausted": "host.pending",
    "EXTERNAL": "host.imports",
    "FairShares": "host.slices.policy",
    "FunctionReference": "host.references",
    "FunctionReport": "report",
    "Guest": "host.guest",
    "GuestMemory": "host.memory",
    "Instrumented": "report",
    "Interruptions": "host.interruption",
    "Named": "instrument.emscripten_js",
    "PendingCall": "host.pending",
    "Policy": "host.slices.policy",
    "Share": "host.slices.policy",
    "Snapshot": "host.snapshot",
    "Usage": "host.slices.usage",
    "Wasi": "host.wasi.wasi",
    "Program": "host.loading",
    "compile": "host.loading",
    "limit_guests": "host.lifetime",
    "load": "host.loading",
    "restore": "host.restoring",
    "use_policy": "host.slices.turns",
    "name_emscripten": "instrument.emscripten_js",
    "read_profile": "profiles.reading",
    "yielding": "host.imports",
}


if not TYPE_CHECKING:  # for a type checker every unknown name would exist

    def __getattr__(name: str) -> Any:
        """Import a name when it is first asked for."""
        if name not in _LATE_NAMES:
            raise AttributeError(f"module 'caesura' has no attribute '{name}'")
        from importlib import import_module

        value = getattr(import_module(f"caesura.{_LATE_NAMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
