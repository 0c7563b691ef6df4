"""Files and directories as people have them: objects out of them, and a line for whatever is no object.

What `kubectl apply -R -f` would take is read. Directories hold more: values of charts, patches of kustomizations,
workflows. Those are passed over and said; a template that may become a policy is an error that says how to render it.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import reading
from netpol.model.errors import Place, PolicyError
from netpol.read.notes import Notes
from netpol.read.objects import from_objects, load_text, objects_in, unread
from netpol.read.reader import Reader
from netpol.read.within import policies_within
from reading import Document, List, Map, Unreadable

__all__ = ["Reader", "from_objects", "load", "load_text"]
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_KUSTOMIZATIONS: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_KEEPING: Final = frozenset(
    (
        "apiVersion", "kind", "metadata", "resources", "bases", "crds", "images", "replicas", "generatorOptions",
        "configMapGenerator", "secretGenerator", "commonAnnotations", "buildMetadata", "sortOptions", "openapi",
    )
)  # fmt: skip
"""What a kustomization may say without changing what its policies mean."""
_OF_FILES: Final = (
    "patches", "patchesJson6902", "patchesStrategicMerge", "transformers", "configurations", "replacements",
)  # fmt: skip
_TEMPLATE: Final = re.compile(r"\{\{|\{%[-+]?\s*[a-z]+ ")
_PLACEHOLDER: Final = re.compile(r"\{\{.*?\}\}|\$\{[A-Za-z_][^}\n]*\}")
_POINTER: Final = "version https://git-lfs.github.com/spec/"
_KIND: Final = "kind"
_CUT: Final = re.compile(r"^---[ \t]*\r?$", re.MULTILINE)
_MOST_PIECES: Final = 500
_KIND_LINE: Final = re.compile(r"^kind:[ \t]*(\S+)", re.MULTILINE)


def load(paths: Iterable[str | Path], *, notes: Notes | None = None, namespace: str = "") -> list[Reader]:
    """Every object in the files; a directory stands for its *.yaml, *.yml and *.json, sorted, recursively.

    Args:
        notes: where faults and omissions go; without, faults are raised.
        namespace: of objects that do not say theirs.

    Raises:
        PolicyError: every fault at once, unless there are `notes`.
    """
    intake = _Intake(notes or Notes(), namespace)
    for path in map(Path, paths):
        try:
            intake.take(path)
        except PolicyError as error:
            intake.notes.wrong(error)
    intake.charts()
    if notes is None:
        intake.notes.fail()
    return intake.found


@dataclass(slots=True)
class _Intake:
    notes: Notes
    namespace: str
    found: list[Reader] = field(default_factory=list)
    patches: dict[Path, Path] = field(default_factory=dict)
    """Files that are patches, and whose."""
    templates: dict[Path, list[tuple[Place, str]]] = field(default_factory=dict)
    """Templates of each chart, with what each of them says it is."""

    def take(self, path: Path) -> None:
        if not os.path.isdir(path):
            self.file(path, walked=False)
            return
        files = list(self.walk(path))
        for file in files:
            if file.name in _KUSTOMIZATIONS:
                self.kustomization(file)
        for file in files:
            if file.name in _KUSTOMIZATIONS or file.suffix.lower() not in _SUFFIXES:
                continue
            try:
                self.file(file, walked=True)
            except PolicyError as error:
                self.notes.wrong(error)

    def walk(self, top: Path) -> Iterator[Path]:
        def refused(error: OSError) -> None:
            reason = f"cannot be listed: {error.strerror}. Give a directory that may be read"
            self.notes.wrong(PolicyError(Place(str(error.filename)), "", reason, unreadable=True))

        found: list[Path] = []
        for directory, inner, names in os.walk(top, onerror=refused):
            here = Path(directory)
            for name in sorted(inner):
                if name.startswith("."):
                    self.notes.skip(Place(str(here / name)), "hidden directory", "name it to have it read")
                elif (here / name).is_symlink():
                    self.notes.skip(Place(str(here / name)), "link to a directory", "name it to have it read")
            inner[:] = [name for name in inner if not name.startswith(".")]
            for name in names:
                path = here / name
                if path.is_file() or (path.is_symlink() and not path.exists()):
                    found.append(path)
                elif path.suffix.lower() in _SUFFIXES:
                    self.notes.skip(Place(str(path)), "no file", "a pipe or device is read only when it is named")
        yield from sorted(found)

    # -- one file -----------------------------------------------------------------------------------

    def file(self, path: Path, *, walked: bool) -> None:
        owner = self.patches.get(path.resolve()) if walked else None
        if owner is not None:
            self.notes.skip(Place(str(path)), "patch", f"it belongs to {owner}: {_build(owner)}")
            return
        try:
            text = reading.text_of(path)
        except FileNotFoundError:
            reason = "does not exist. Name a file or directory that does"
            raise PolicyError(Place(str(path)), "", reason, unreadable=True) from None
        except Unreadable as error:
            raise unread(error) from None
        if path.name in _KUSTOMIZATIONS:
            self.kustomization(path)
            return
        if text.startswith(_POINTER):
            reason = "is a pointer of Git LFS and not the file. Get it first: git lfs pull"
            raise PolicyError(Place(str(path), 1), "", reason, unreadable=True)
        try:
            found = reading.documents(text, str(path), lines=True)
        except Unreadable as error:
            if (at := _TEMPLATE.search(text)) is not None:
                self.template(path, text, at.start(), walked=walked)
                return
            if walked and _KIND not in text:
                why = f"it says no kind, and cannot be read: {error.reason}"
                self.notes.skip(Place(str(path), error.line), "no object of Kubernetes", why)
                return
            found = self.pieces(path, text, error)
        placeholders = "{{" in text or "${" in text
        for document in found:
            place = Place(str(path), document.line)
            try:
                why = _no_object(document.value, walked=walked)
            except PolicyError as error:
                self.notes.wrong(PolicyError(place, error.field, error.reason))
                continue
            if why:
                within = policies_within(document.value)
                self.notes.skip(place, "no object of Kubernetes", f"{why}; {within} is not read" if within else why)
                continue
            readers = objects_in(document.value, place, self.notes, self.namespace)
            self.found += [r for r in readers if not placeholders or self.rendered(r, path)]

    def pieces(self, path: Path, text: str, error: Unreadable) -> list[Document]:
        """The documents of a file that can be read alone; what is wrong with each of the others is noted."""
        cuts = [0, *(found.start() for found in _CUT.finditer(text)), len(text)]
        known = len(self.notes.errors)
        found: list[Document] = []
        for start, end in itertools.pairwise(cuts) if len(cuts) <= _MOST_PIECES else ():
            try:
                found += reading.documents("\n" * text.count("\n", 0, start) + text[start:end], str(path), lines=True)
            except Unreadable as inner:
                self.notes.wrong(unread(inner))
        if len(self.notes.errors) == known:
            raise unread(error) from None
        return found

    def rendered(self, reader: Reader, path: Path) -> bool:
        """Whether an object has no placeholder where it matters to policy."""
        meta = reader.value.get("metadata")
        parts: list[Any] = [
            {k: v for k, v in meta.items() if k != "annotations"} if isinstance(meta, Mapping) else None
        ]
        if reader.kind[1].endswith(("NetworkPolicy", "NetworkSet", "CIDRGroup")):
            parts.append(reader.value.get("spec"))
        found = next(filter(None, map(_placeholder, parts)), None)
        if found is not None:
            how = _render(path) if "{{" in found else f"envsubst < {path} > rendered.yaml, and give rendered.yaml"
            self.notes.wrong(reader.error(f"has the placeholder {found[:60]!r}. Render it first: {how}"))
        return found is None

    # -- what is not YAML yet -----------------------------------------------------------------------

    def template(self, path: Path, text: str, at: int, *, walked: bool) -> None:
        line = text.count("\n", 0, at) + 1
        kinds = _KIND_LINE.findall(text)
        what = ", ".join(dict.fromkeys(kinds))
        if walked and kinds and not any(_may_matter(kind) for kind in kinds):
            self.notes.skip(Place(str(path), line), "template", f"of {what}, which decides no traffic")
            return
        chart = _chart(path)
        if chart is None:
            reason = f"is a template: it has {text[at : at + 2]} here. Render it first: {_render(path)}"
            self.notes.wrong(PolicyError(Place(str(path), line), "", reason, unreadable=True))
        else:
            self.templates.setdefault(chart, []).append((Place(str(path), line), what))

    def charts(self) -> None:
        """One error for each chart, however many templates it has."""
        for chart, places in self.templates.items():
            more = f", and {len(places) - 1} more of the chart are" if len(places) > 1 else ""
            reason = f"is a template: it has {{{{ here{more}. Render it first: {_render(chart / 'templates')}"
            self.notes.wrong(PolicyError(places[0][0], "", reason, unreadable=True))

    def kustomization(self, path: Path) -> None:
        try:
            said = reading.value(reading.text_of(path), str(path))
        except FileNotFoundError:
            return
        except Unreadable as error:
            self.notes.wrong(unread(error))
            return
        said = said if isinstance(said, dict) else {}
        for name in _patch_files(said):
            self.patches[(path.parent / name).resolve()] = path
        changes = sorted(key for key in said if key not in _KEEPING and said[key])
        why = "it only lists files"
        if changes:
            why = f"what it changes ({', '.join(changes)}) is not seen here: {_build(path)}"
        self.notes.skip(Place(str(path)), "Kustomization", why)


def _patch_files(said: Mapping[str, Any]) -> Iterator[str]:
    for key in (
        "patches",
        "patchesJson6902",
        "patchesStrategicMerge",
        "transformers",
        "configurations",
        "replacements",
    ):
        listed = said.get(key)
        for item in listed if isinstance(listed, list) else ():
            name = item.get("path") if isinstance(item, dict) else item
            if isinstance(name, str) and "\n" not in name and "\0" not in name:
                yield name


def _build(kustomization: Path) -> str:
    return f"build it first: kubectl kustomize {kustomization.parent} > built.yaml, and give built.yaml"


def _chart(path: Path) -> Path | None:
    return next((above for above in path.parents if (above / "Chart.yaml").is_file()), None)


def _render(path: Path) -> str:
    chart = _chart(path)
    where = chart if chart is not None else "CHART"
    return f"helm template NAME {where} > rendered.yaml (or the tool that it is written for), and give rendered.yaml"


def _may_matter(kind: str) -> bool:
    """Whether an object of this kind, as far as a template tells it, may decide traffic."""
    return "{" in kind or kind.strip("'\"").endswith(
        ("Policy", "NetworkSet", "Tier", "Profile", "HostEndpoint", "CIDRGroup", "List", "Pod", "Namespace", "Service")
    )


def _no_object(value: Any, *, walked: bool) -> str:
    """Why a document is no object of Kubernetes; nothing when it is one. Raises PolicyError where it should be one."""
    if isinstance(value, List):
        if value and all(isinstance(item, Map) and "op" in item and "path" in item for item in value):
            return "a list of JSON patches"
        if any(isinstance(item, Map) and ("kind" in item or "apiVersion" in item) for item in value):
            reason = "objects in a plain list are not read by kubectl. Put --- between them, or make it kind: List"
            raise PolicyError(Place(), "", reason)
        return "a list" if walked else ""
    if not isinstance(value, Map):
        return "plain text" if walked else ""
    if value.get("kind") or {"metadata", "spec"} <= value.keys() or ("apiVersion" in value and "metadata" in value):
        return ""
    return "it has no kind" if walked or "apiVersion" not in value else ""


def _placeholder(value: Any) -> str | None:
    """The first `{{…}}` or `${…}` in a value."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            if found := _PLACEHOLDER.search(one):
                return found[0]
        elif isinstance(one, Mapping):
            todo += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            todo += one
    return None
