"""What every kind of object shares: metadata, label selectors, port names."""

from __future__ import annotations

import re
from functools import lru_cache

from netpol.model.selector import ALL, Selector
from netpol.model.values import Meta
from netpol.read.documents import Reader
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
_PORT_NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9]|-(?!-)){0,13}[a-zA-Z0-9]|[a-zA-Z0-9]")


def metadata(doc: Reader, *, namespaced: bool) -> Meta:
    """The object's identity. A namespaced kind without a namespace is an error: `default` is never assumed."""
    doc.text("apiVersion")
    doc.text("kind")
    meta = doc.child("metadata")
    if meta is None:
        raise doc.error("is required", "metadata")
    namespace = meta.text("namespace", "")
    if namespaced and not namespace:
        raise meta.error("is required for this kind", "namespace")
    if not namespaced and namespace:
        raise meta.error(f"this kind is cluster-scoped, {brief(namespace)} would be ignored", "namespace")
    name = meta.text("name")
    own = {"labels": meta.labels("labels"), "annotations": meta.labels("annotations"), "name": name}
    owners = [owner.text("apiVersion", "") for owner in meta.children("ownerReferences")]
    try:
        whole = metadata_of(doc.text("apiVersion"), {**own, "ownerReferences": meta.raw("ownerReferences")})
    except ValueError as error:
        raise meta.error(f"{METADATA} {error}", "annotations") from None
    if whole.get("ownerReferences") is not meta.raw("ownerReferences"):
        owners = [str(owner.get("apiVersion", "")) for owner in whole["ownerReferences"]]
    out = Meta(
        kind=doc.text("kind"),
        api=doc.text("apiVersion"),
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
    for expression in reader.children("matchExpressions"):
        expression.text("key")
        operator = expression.text("operator", choices=("In", "NotIn", "Exists", "DoesNotExist"))
        values = expression.strings("values")
        if bool(values) != operator.endswith("In"):
            raise expression.error(f"operator {operator} takes {'some' if not values else 'no'} values", "values")
        expression.done()
    reader.done()
    return parse_kubernetes(reader.value)


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
        raise reader.error(str(error), key) from error


def is_port_name(text: str) -> bool:
    """Whether the text is an IANA service name: letters, digits and single hyphens, at least one letter, at most 15."""
    return bool(_PORT_NAME.fullmatch(text)) and any(c.isalpha() for c in text)
