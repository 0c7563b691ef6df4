"""One finding, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from netpol.model.errors import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`code` names the kind of finding, `message` says what happens and `fix` what to do about it."""

    code: str
    policy: str
    rule: str
    place: Place
    message: str
    fix: str

    @property
    def page(self) -> str:
        """Where more is said about findings of this kind."""
        return f"docs/lint.md#{self.code}"

    def __str__(self) -> str:
        where = f"{self.policy}{' ' + self.rule if self.rule else ''}"
        return f"{self.place}: {self.code}: {where}: {self.message} ({self.fix}) [{self.page}]"
