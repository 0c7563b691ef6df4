"""What every kind of object shares: metadata, label selectors, port names."""

from __future__ import annotations

import re
from functools import lru_cache

from netpol.model.selector import ALL, Selector
from netpol.model.values import Meta
from netpol.read.reader import Reader
from netpol.read.selector_text import SelectorError, parse_calico, parse_kubernetes
from reading import METADATA, brief, metadata_of

_SERVER_FIELDS = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
    "generateName",
)
_NO_NAME = "no name of an object: letters, digits, - and . only, at most 253, no sign at its ends"
_NAME = re.compile(r"[A-Za-z0-9]([-_.A-Za-z0-9]{0,251}[A-Za-z0-9])?")
_CALICO_PORT_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
_PORT_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9]|-(?!-)){0,13}[a-zA-Z0-9]|[a-zA-Z0-9]")


def metadata(doc: Reader, *, namespaced: bool) -> Meta:
    """The object's identity. Without a namespace it is in that of `--namespace`; `default` is never assumed."""
    api, kind = doc.text("apiVersion"), doc.text("kind")
    meta = spec_of(doc, "metadata")
    namespace = meta.text("namespace", "")
    if namespaced and not namespace:
        namespace = doc.namespace
        if not namespace:
            meta.wrong("is required for this kind. Write it, or say which one is meant with --namespace", "namespace")
    if not namespaced and namespace:
        meta.wrong(f"this kind is cluster-scoped, {brief(namespace)} would be ignored. Remove it", "namespace")
    name = object_name(meta)
    own = {"labels": meta.labels("labels"), "annotations": meta.labels("annotations"), "name": name}
    owners = [owner.text("apiVersion", "") for owner in meta.children("ownerReferences")]
    try:
        whole = metadata_of(api, {**own, "ownerReferences": meta.raw("ownerReferences")})
    except ValueError as error:
        raise meta.error(f"{METADATA} {error}", "annotations") from None
    if whole.get("ownerReferences") is not meta.raw("ownerReferences"):
        owners = [str(owner.get("apiVersion", "")) for owner in whole["ownerReferences"]]
    if whole["name"] != name and not _NAME.fullmatch(whole["name"]):
        meta.wrong(f"{METADATA} has the name {brief(whole['name'])}, which is {_NO_NAME}", "annotations")
    out = Meta(
        kind=kind,
        api=api,
        name=whole["name"],
        namespace=namespace,
        labels=whole["labels"],
        annotations=whole["annotations"],
        owners=tuple(owners),
        stored=name if name != whole["name"] else "",
        place=doc.place(),
    )
    meta.done(*_SERVER_FIELDS)
    return out


def object_name(meta: Reader) -> str:
    """`metadata.name`, as it may stand in an address or in the name of a file."""
    name = meta.text("name")
    if isinstance(meta.value.get("name"), str) and not _NAME.fullmatch(name):
        meta.wrong(f"{brief(name)} is {_NO_NAME}", "name")
    return name


def spec_of(doc: Reader, key: str = "spec") -> Reader:
    spec = doc.child(key)
    if spec is None:
        raise doc.error("is required", key)
    return spec


def label_selector(parent: Reader, key: str) -> Selector | None:
    """A Kubernetes label selector under `key`; None when absent, everything when empty."""
    reader = parent.child(key)
    return None if reader is None else selector_of(reader)


def selector_of(reader: Reader) -> Selector:
    if not reader.value:
        return ALL
    reader.labels("matchLabels")
    reader.each("matchExpressions", _expression)
    reader.done()
    return ALL if reader.damaged else parse_kubernetes(reader.value)


def _expression(reader: Reader, _: int) -> None:
    reader.text("key")
    operator = reader.text("operator", choices=("In", "NotIn", "Exists", "DoesNotExist"))
    values = reader.strings("values")
    reader.done()
    if bool(values) != operator.endswith("In"):
        raise reader.error(f"operator {operator} takes {'some' if not values else 'no'} values", "values")


@lru_cache(maxsize=16384)
def _parsed(text: str) -> Selector:
    return parse_calico(text)


def calico_selector(reader: Reader, key: str) -> Selector | None:
    """A Calico selector; None when absent or blank."""
    text = reader.text(key, "")
    if not text or not text.strip(" \t"):
        return None
    try:
        return _parsed(text)
    except SelectorError as error:
        reader.wrong(str(error), key)
        return None


def is_port_name(text: str) -> bool:
    """Whether the text is an IANA service name: letters, digits and single hyphens, at least one letter, at most 15."""
    return bool(_PORT_NAME.fullmatch(text)) and any(c.isalpha() for c in text)


def is_calico_port_name(text: str) -> bool:
    """Whether the text is a port name to Calico, which takes more than pods can declare (numorstring/port.go)."""
    return bool(_CALICO_PORT_NAME.fullmatch(text)) and not text.isdigit()
