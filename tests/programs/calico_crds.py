"""Writes `migration/rules/calico_crds.json`: the CRDs of every release of Calico, as digests.

    python -m tests.programs.calico_crds CALICO OPERATOR > migration/rules/calico_crds.json

CALICO and OPERATOR are clones of github.com/projectcalico/calico and github.com/tigera/operator with their tags. Each
release of Calico gives the CRDs that its chart has; each release of the operator gives those that it puts there itself
(`manageCRDs`), for the Calico that it says it installs. Only releases are read, and only open-source Calico's CRDs.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from migration.rules.calico_crds import Look, look
from migration.rules.versions import CALICO_KUBERNETES, minor

Names = Iterable[str]
RELEASE = re.compile(r"v\d+\.\d+\.\d+")
TITLE = re.compile(r"^title: (v\d+\.\d+\.\d+)$", re.MULTILINE)
CHART = ("charts/tigera-operator/crds/", "charts/crd.projectcalico.org.v1/templates/operator.")
"""Where the operator's own CRDs are, up to v3.31 and since v3.32."""
STORED = ("libcalico-go/config/crd/", "pkg/crds/calico/", "pkg/imports/crds/calico/v1.")
NATIVE = ("api/config/crd/", "pkg/imports/crds/calico/v3.")
SHARED = ("libcalico-go/config/crd/policy.", "pkg/crds/calico/policy.", "pkg/imports/crds/calico/policy.")
OPERATOR = ("pkg/crds/operator/", "pkg/imports/crds/operator/")


class Repository:
    """A clone, read without a work tree."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(self._path), *arguments], check=True, capture_output=True, text=True
        ).stdout

    def releases(self) -> list[str]:
        return [tag for tag in self._git("tag").split() if RELEASE.fullmatch(tag)]

    def text(self, tag: str, path: str) -> str:
        return self._git("show", f"{tag}:{path}")

    def under(self, tag: str, starts: Names) -> list[str]:
        """Ids of the YAML files whose paths begin with one of `starts`."""
        lines = self._git("ls-tree", "-r", tag).splitlines()
        found = [line.split(None, 3)[2:] for line in lines]
        return [blob for blob, path in found if path.endswith(".yaml") and path.startswith(tuple(starts))]

    @cache  # noqa: B019 - there are two of these, and one program
    def definitions(self, blob: str) -> list[tuple[str, Look]]:
        """Name and look of each CRD in a file. Most files are the same in many releases."""
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        documents = yaml.load_all(self._git("cat-file", "blob", blob), Loader=loader)
        return [(named(d), look(d)) for d in documents if d and d.get("kind") == "CustomResourceDefinition"]


def definitions(repository: Repository, tag: str, starts: Names) -> dict[str, Look]:
    """Name → how the CRD looks, for all files of a release whose paths begin with one of `starts`."""
    return dict(one for blob in repository.under(tag, starts) for one in repository.definitions(blob))


def modes(repository: Repository, tag: str, operators: Names) -> dict[str, dict[str, Look]]:
    """By mode, name → how the CRD looks."""
    found: dict[str, dict[str, Look]] = {"stored": {}, "native": {}}
    own = definitions(repository, tag, operators) | definitions(repository, tag, SHARED)
    for mode, starts in (("stored", STORED), ("native", NATIVE)):
        calico = definitions(repository, tag, starts)
        calico = {name: one for name, one in calico.items() if ("crd." in name) == (mode == "stored")}
        if calico:
            found[mode] = own | {n: one for n, one in calico.items() if n.endswith("projectcalico.org")}
    return found


def named(crd: dict[str, Any]) -> str:
    """As the API server insists: the operator's files lack it in places."""
    return f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"


def derive(calico: Repository, operator: Repository) -> dict[str, Any]:
    """What `calico_crds.json` holds."""
    supported = set(CALICO_KUBERNETES)
    looks: dict[str, dict[str, dict[Look, set[str]]]] = {
        mode: defaultdict(lambda: defaultdict(set)) for mode in ("stored", "native")
    }
    names: dict[str, dict[str, set[str]]] = {"stored": defaultdict(set), "native": defaultdict(set)}
    for tag in (t for t in calico.releases() if minor(t) in supported):
        for mode, crds in modes(calico, tag, CHART).items():
            for name, one in crds.items():
                looks[mode][name][one].add(tag)
                names[mode][tag].add(name)
    for tag in operator.releases():
        title = TITLE.search(operator.text(tag, "config/calico_versions.yml") if minor(tag) >= (1, 36) else "")
        if title is None or title[1] not in names["stored"]:
            continue
        for mode, crds in modes(operator, tag, OPERATOR).items():
            for name in crds.keys() & names[mode][title[1]]:
                looks[mode][name][crds[name]].add(title[1])
    return {
        mode: {
            name: [
                {
                    "digest": one.digest,
                    "served": sorted(one.served),
                    "stored": one.stored,
                    "versions": sorted(versions, key=lambda v: [int(p) for p in v[1:].split(".")]),
                }
                for one, versions in sorted(found.items(), key=lambda pair: sorted(pair[1]))
            ]
            for name, found in sorted(crds.items())
        }
        for mode, crds in looks.items()
    }


def main() -> None:
    calico, operator = (Repository(Path(argument)) for argument in sys.argv[1:3])
    text = json.dumps(derive(calico, operator), indent=1, sort_keys=True)
    # One line for each way in which a CRD is written: the file is read by people as well.
    sys.stdout.write(
        re.sub(r"\{\s+(\"digest\".*?)\s+\}", lambda m: "{" + re.sub(r"\s+", " ", m[1]) + "}", text, flags=re.DOTALL)
    )
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
