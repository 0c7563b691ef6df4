"""The list of Calico's CRDs against the CRDs themselves, from the operator's module."""

import functools
from pathlib import Path

import pytest
import yaml

from migration.rules import calico_crds
from sandbox import toolcache
from sandbox.operators import modules

VERSION = modules.CALICO_VERSION


@functools.cache
def looks(native: bool) -> dict[str, calico_crds.Look]:
    """Name → how the CRD looks, for all that the operator installs."""
    root = toolcache.tigera_crds()
    files = [*modules.calico_files(root), *modules.tigera_files(root)]
    if native:
        files = [f for f in files if f.parent.name != "v1.crd.projectcalico.org"]
        files += sorted(root.glob("calico/v3.projectcalico.org/*.yaml"))
    return dict(pair for file in files for pair in read(file))


def read(file: Path) -> list[tuple[str, calico_crds.Look]]:
    found = yaml.load_all(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return [(f"{c['spec']['names']['plural']}.{c['spec']['group']}", calico_crds.look(c)) for c in found if c]


@pytest.mark.parametrize("native", [False, True])
def test_the_list_is_what_the_operator_installs(native: bool):
    wanted = calico_crds.complete(VERSION, native=native)
    assert wanted is not None
    found = looks(native)
    assert set(wanted) == set(found)
    problems = {name: list(calico_crds.problems(one, found[name])) for name, one in wanted.items()}
    assert {name: told for name, told in problems.items() if told} == {}


@pytest.mark.parametrize("native", [False, True])
def test_each_of_them_is_another_one_than_the_others(native: bool):
    """So that a CRD under a wrong name does not pass: its kind is part of the digest."""
    found = looks(native)
    assert len({look.digest for look in found.values()}) == len(found)
