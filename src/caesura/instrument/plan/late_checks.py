"""Which call sites are checked behind the instruction that takes the call's result, instead of right behind the call.

Nearly half of all results are dropped or put in a local at once. What the local held before is mostly dead at the
landing point; then the dummy that a call returns while unwinding does no harm there. With the result off the operand
stack, the number of the call site can often stay on it (see `write.labels`), and the local's old value need not be kept
through the call only because a frame might save it.
"""

from __future__ import annotations

from caesura.analysis.actions import ACTIONS, DROP, LOCAL_SET
from caesura.analysis.body import Body
from caesura.instrument.plan.plan import Plan


def checked_late(body: Body, plan: Plan, each_landing: list[int]) -> set[int]:
    """Return the calls of these call sites; `each_landing` are the locals live at each landing point, as bits.

    There are none where these are not known.
    """
    late: set[int] = set()
    crossing = plan.crossing
    for site in range(len(each_landing)):
        call: int = plan.sites.calls[site]
        taker = call + 1
        if taker >= len(body.codes) or 2 * taker in crossing.reads:
            continue
        if call in crossing.temporaries or call in crossing.several:
            continue
        action = ACTIONS[body.codes[taker]]
        if action == DROP:
            late.add(call)
        elif action == LOCAL_SET:
            local = body.immediates[taker]
            if not each_landing[site] >> local & 1 and local not in plan.saved.moved_locals:
                late.add(call)
    return late
