"""Which chart values a stack may choose, and which the journey rests on.

Every key of the pinned chart is decided: it is *owned* (`owned`: only some values do what the journey counts on),
or *free* (`free`). What is decided nowhere is refused, so a key of a new chart has to be decided before anybody
can use it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from migration.rules.chart.fits import Chosen
from migration.rules.chart.free import FREE
from migration.rules.chart.owned import LEAVE_OUT, OWNED, Owned

Refusal = tuple[str, object, str, str]
"""(dotted path, value, reason, what to do instead)"""


def refusals(values: Mapping[str, Any], chosen: Chosen) -> Iterator[Refusal]:
    """What a stack chooses in `cilium.values` and may not."""
    yield from _refusals(values, (), chosen)


def decided(path: str) -> str | None:
    """The row that decides about a dotted path: its own, else that of the nearest section above; None without one."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        here = ".".join(parts[:length])
        if here in OWNED or here in FREE:
            return here
    return None


def _refusals(values: Mapping[str, Any], path: tuple[str, ...], chosen: Chosen) -> Iterator[Refusal]:
    for key, value in values.items():
        here = ".".join((*path, key))
        if here in OWNED:
            rule = OWNED[here]
            if not _holds(rule, value, chosen):
                yield here, value, rule.reason, rule.instead
        elif isinstance(value, Mapping) and (here in _SECTIONS or decided(here) is None):
            yield from _refusals(value, (*path, key), chosen)
        elif decided(here) is None:
            yield here, value, "nobody has decided yet whether the journey bears it", LEAVE_OUT


def _holds(rule: Owned, value: Any, chosen: Chosen) -> bool:
    try:
        return rule.fits(value, chosen)
    except (TypeError, ValueError, AttributeError, KeyError):  # of a form that nobody foresaw
        return False


def _sections(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(
        ".".join(parts[:length]) for path in paths for parts in [path.split(".")] for length in range(1, len(parts))
    )


_SECTIONS: Final = _sections([*OWNED, *FREE])
"""Sections whose keys are decided one by one."""
