"""Who enforced network policy before the journey: what continuity is proved against. Pure."""

from migration.facts import Facts
from migration.journeys import Engine
from migration.rules.versions import CALICO_DEFAULT, minor
from migration.settings import Settings


def enforcer(facts: Facts | None) -> Engine | None:
    """The engine; None: nobody enforced any."""
    return None if facts is not None and facts.calico.kind == "absent" else Engine.CALICO


def calico_version(settings: Settings, facts: Facts | None) -> tuple[int, int]:
    """(major, minor) of that Calico, where the one that runs does not tell it."""
    said = facts.calico.version if facts else None
    owned = settings.legacy.calico.version if settings.legacy else None
    return minor(said or owned or CALICO_DEFAULT)
