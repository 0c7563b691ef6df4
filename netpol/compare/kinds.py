"""The kinds of pods that selectors tell apart, whatever labels pods, namespaces and accounts may come to have.

A kind is what a conjunction of literals leaves open; one is divided only where a selector really answers differently
inside it. So there are as many as combinations of answers that labels can reach, and not as many as label values
could be combined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netpol.decide import calico
from netpol.decide.calico_kubernetes import ORCHESTRATOR
from netpol.model.identity import CLUSTER, NAMESPACE_LABELS, SERVICE_ACCOUNT, is_key, is_value
from netpol.model.named import NAMESPACE_NAMES
from netpol.model.selector import ALL, NOTHING, Global, Has, In, Not, NotIn, Selector, Text, both, either
from netpol.model.world import Namespace

NAME_OF_NAMESPACE, NAME_OF_ACCOUNT = "@namespace", "@account"
OF_NAMESPACE, OF_ACCOUNT = calico.NAMESPACE_PREFIX, calico.ACCOUNT_PREFIX
_ACCOUNT_NAMES = {calico.ACCOUNT, calico.ACCOUNT_PREFIX + calico.NAME, SERVICE_ACCOUNT}
_ALWAYS = {ORCHESTRATOR: "k8s", CLUSTER: ""}
"""Of pods; by then nobody asks for the value of the cluster's name."""


class TooManyError(Exception):
    """There are more kinds than were to be looked at."""


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of one label: `only` these values (None: any), `never` those; whether it is there at all."""

    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()
    there: bool | None = None
    texts: tuple[tuple[Text, bool], ...] = ()

    def example(self) -> str | None:
        """A value that fits; None where none was found."""
        candidates = sorted(self.only) if self.only is not None else list(_made_up(self.texts))
        return next((v for v in candidates if self._fits(v)), None)

    def _fits(self, value: str) -> bool:
        return value not in self.never and all(t.accepts(value) is holds for t, holds in self.texts)


Kind = Mapping[str, Label]
_ANY = Label()


def _made_up(texts: Sequence[tuple[Text, bool]]) -> Iterator[str]:
    wanted: dict[str, list[str]] = {"starts with": [], "contains": [], "ends with": []}
    for text, holds in texts:
        if holds:
            wanted[text.operator].append(text.text)
    first, last = max(wanted["starts with"], key=len, default=""), max(wanted["ends with"], key=len, default="")
    for between in ("", "-other-", "x", "0", "-0x0-"):
        yield first + between + between.join(wanted["contains"]) + (between if wanted["contains"] else "") + last
    yield from (f"some-other-value{i}" for i in range(2))
    yield from (t.text for t, _ in texts)
    yield from (f"x{t.text}" for t, _ in texts)
    yield from (f"{t.text}x" for t, _ in texts)


def normal(selector: Selector) -> Selector:
    """The selector with one key for each thing, whichever engine's name it had."""
    parts = selector.parts()
    if parts:
        inner = tuple(normal(p) for p in parts)
        if isinstance(selector, Not):
            return NOTHING if inner[0] == ALL else ALL if inner[0] == NOTHING else Not(inner[0])
        return both(*inner) if type(selector).__name__ == "And" else either(*inner)
    if not isinstance(selector, Has | In | NotIn | Text):
        return ALL if isinstance(selector, Global) else selector
    key = selector.key
    if key in _ALWAYS:
        return ALL if selector.matches(_ALWAYS) else NOTHING
    if key.startswith("reserved:"):
        return ALL if selector.matches({}) else NOTHING
    if key in NAMESPACE_NAMES:
        key = NAME_OF_NAMESPACE
    elif key in _ACCOUNT_NAMES:
        key = NAME_OF_ACCOUNT
    elif key.startswith(NAMESPACE_LABELS):
        key = OF_NAMESPACE + key.removeprefix(NAMESPACE_LABELS)
    return _possible(replace(selector, key=key))


def _possible(selector: Has | In | NotIn | Text) -> Selector:
    """The selector without labels that the API server gives to nobody."""
    key = selector.key
    if key in (NAME_OF_NAMESPACE, NAME_OF_ACCOUNT):
        return selector
    if not is_key(key.removeprefix(OF_NAMESPACE).removeprefix(OF_ACCOUNT)):
        return ALL if isinstance(selector, NotIn) else NOTHING
    if not isinstance(selector, In | NotIn) or all(map(is_value, selector.values)):
        return selector
    values = frozenset(filter(is_value, selector.values))
    if not values:
        return ALL if isinstance(selector, NotIn) else NOTHING
    return replace(selector, values=values, single=len(values) == 1)


# --- dividing
def kinds(selectors: Iterable[Selector], starts: Iterable[Kind], limit: int) -> list[Kind]:
    """The kinds that the (normal) selectors tell apart within `starts`. Raises TooManyError beyond `limit`."""
    found = list(starts)
    for selector in selectors:
        divided: list[Kind] = []
        for kind in found:
            divided += (k for k, _ in _divide(kind, selector))
            if len(divided) > limit:
                raise TooManyError
        found = divided
    return found


def inside(kind: Kind, selector: Selector) -> Kind | None:
    """Some kind within `kind` that the selector matches; None where it never does."""
    return next((k for k, answer in _divide(kind, selector) if answer), None)


def _divide(kind: Kind, selector: Selector) -> list[tuple[Kind, bool]]:
    """The kind in parts, in each of which the selector has one answer."""
    done: list[tuple[Kind, bool]] = []
    open_ = [kind]
    while open_:
        one = open_.pop()
        answer, atom = _ask(one, selector)
        if answer is not None:
            done.append((one, answer))
            continue
        assert atom is not None  # noqa: S101
        open_ += (k for k in (_with(one, atom, holds=True), _with(one, atom, holds=False)) if k is not None)
    return done


def _ask(kind: Kind, selector: Selector) -> tuple[bool | None, Selector | None]:
    """What the selector answers for all of the kind; or the label question that this hangs on."""
    if selector == ALL:
        return True, None
    parts = selector.parts()
    if not parts:
        answer = _answer(kind, selector)
        return answer, selector if answer is None else None
    if isinstance(selector, Not):
        inner, atom = _ask(kind, parts[0])
        return None if inner is None else not inner, atom
    ends = type(selector).__name__ == "Or"
    open_atom: Selector | None = None
    for part in parts:
        answer, atom = _ask(kind, part)
        if answer is ends:
            return ends, None
        open_atom = open_atom or atom
    return (not ends, None) if open_atom is None else (None, open_atom)


def _answer(kind: Kind, atom: Selector) -> bool | None:
    yes, no = _with(kind, atom, holds=True), _with(kind, atom, holds=False)
    if no is None:
        return True
    return False if yes is None else None


def _with(kind: Kind, atom: Selector, *, holds: bool) -> Kind | None:
    """The kind in which the atom holds (or does not); None where that cannot be."""
    assert isinstance(atom, Has | In | NotIn | Text)  # noqa: S101
    key = atom.key
    known = kind.get(key, _ANY)
    if isinstance(atom, NotIn):
        atom, holds = In(key, atom.values), not holds
    if isinstance(atom, Has):
        label = _there(known) if holds else _gone(known, key)
        return _put(kind, key, label)
    if isinstance(atom, In):
        if holds:
            only = atom.values if known.only is None else known.only & atom.values
            return _put(kind, key, _there(replace(known, only=only)))
        label = replace(known, never=known.never | atom.values)
        return _put(kind, key, label if label.there is not True else _there(label))
    if known.there is False:
        return None if holds else kind
    if holds:
        return _put(kind, key, _there(replace(known, texts=_and(known.texts, (atom, True)))))
    without = replace(known, texts=_and(known.texts, (atom, False)))
    return _put(kind, key, without if without.there is not True else _there(without))


def _and(texts: tuple[tuple[Text, bool], ...], more: tuple[Text, bool]) -> tuple[tuple[Text, bool], ...]:
    return texts if more in texts else (*texts, more)


def _there(label: Label) -> Label | None:
    if label.there is False:
        return None
    if label.only is not None:
        only = frozenset(v for v in label.only - label.never if all(t.accepts(v) is h for t, h in label.texts))
        if not only:
            return None
        return replace(label, only=only, there=True)
    for text, holds in label.texts:
        if (text, not holds) in label.texts:
            return None
    return replace(label, there=True)


def _gone(label: Label, key: str) -> Label | None:
    if label.there is True or key in (NAME_OF_NAMESPACE, NAME_OF_ACCOUNT):
        return None
    return Label(there=False)


def _put(kind: Kind, key: str, label: Label | None) -> Kind | None:
    if label is None:
        return None
    if key in (NAME_OF_NAMESPACE, NAME_OF_ACCOUNT) and label.there is None:
        checked = _there(label)
        if checked is None:
            return None
        label = checked
    return {**kind, key: label}


# --- where kinds begin
def starts(namespaces: Iterable[Namespace], selectors: Sequence[Selector]) -> list[Kind]:
    """One kind for each given namespace that the selectors tell apart, and one for all that nobody has made yet."""
    asked: set[Selector] = set()
    for selector in selectors:
        todo = [selector]
        while todo:
            one = todo.pop()
            todo += one.parts()
            key = getattr(one, "key", "")
            if key == NAME_OF_NAMESPACE or key.startswith(OF_NAMESPACE):
                asked.add(one)
    keys = {key for one in asked if (key := str(getattr(one, "key", ""))).startswith(OF_NAMESPACE)}
    out: dict[object, Kind] = {}
    given = [n for n in namespaces if n.given]
    told = _Questions(asked)
    for namespace in given:
        labels = {OF_NAMESPACE + k: v for k, v in namespace.labels.items()} | {NAME_OF_NAMESPACE: namespace.name}
        answers = tuple([told.answers(key, labels.get(key)) for key in told.keys])
        if answers in out:
            continue
        known = {key: Label(only=frozenset((value,)), there=True) for key, value in labels.items()}
        out[answers] = {**{key: Label(there=False) for key in keys}, **known}
    fresh = Label(never=frozenset(n.name for n in given), there=True)
    return [*out.values(), {NAME_OF_NAMESPACE: fresh}]


class _Questions:
    """Questions about single labels, by label: which values of one are told apart."""

    def __init__(self, asked: Iterable[Selector]) -> None:
        self._by_key: dict[str, list[Selector]] = {}
        self._naming: dict[tuple[str, str], list[int]] = {}
        self._there: set[str] = set()
        self._known: dict[tuple[str, str | None], int] = {}
        self._numbers: dict[object, int] = {}
        for one in asked:
            assert isinstance(one, Has | In | NotIn | Text)  # noqa: S101
            others = self._by_key.setdefault(one.key, [])
            if isinstance(one, In | NotIn):
                for value in one.values:
                    self._naming.setdefault((one.key, value), []).append(id(one))
            elif isinstance(one, Text):
                others.append(one)
            else:
                self._there.add(one.key)

    @property
    def keys(self) -> Iterable[str]:
        return self._by_key

    def answers(self, key: str, value: str | None) -> int:
        """A number that is the same for values of which every question has the same answer."""
        found = self._known.get((key, value))
        if found is None:
            labels = {} if value is None else {key: value}
            naming: tuple[int, ...] = () if value is None else tuple(self._naming.get((key, value), ()))
            texts = tuple(one.matches(labels) for one in self._by_key[key])
            told = (key, key in self._there and value is not None, naming, texts)
            found = self._known[key, value] = self._numbers.setdefault(told, len(self._numbers))
        return found
