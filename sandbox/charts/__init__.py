"""Stand-ins for Calico's Helm charts, for machines that reach no chart repository.

`tigera-operator` is kept here, in our words, with the real chart's value names. `crd.projectcalico.org.v1` is put
together from the CRDs of the pinned Tigera operator when it is needed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from sandbox.operators.modules import CALICO_VERSION, calico_files, tigera_files

__all__ = ["prepare"]

_OPERATOR = Path(__file__).parent / "tigera-operator"
_CRDS = "crd.projectcalico.org.v1"


def prepare(dest_dir: Path, crds_dir: Path) -> dict[str, Path]:
    """Write both charts below `dest_dir` and return their directories by chart name; what was there is replaced.

    `crds_dir` is `pkg/imports/crds` of the Tigera operator's module (`sandbox.toolcache.tigera_crds()`).

    Raises:
        FileNotFoundError: when there are no CRDs in `crds_dir`.
        ValueError: when a CRD holds text that Helm would take for a template.
    """
    operator, crds = dest_dir / _OPERATOR.name, dest_dir / _CRDS
    for chart in (operator, crds):
        shutil.rmtree(chart, ignore_errors=True)
    shutil.copytree(_OPERATOR, operator)
    templates = crds / "templates"
    templates.mkdir(parents=True)
    (crds / "Chart.yaml").write_text(
        f"apiVersion: v2\nname: {_CRDS}\ndescription: CustomResourceDefinitions of Calico and its operator.\n"
        f"version: {CALICO_VERSION}\nappVersion: {CALICO_VERSION}\n"
    )
    (crds / "values.yaml").write_text("{}\n")
    _copy([*calico_files(crds_dir), *tigera_files(crds_dir)], templates)
    return {_OPERATOR.name: operator, _CRDS: crds}


def _copy(files: Iterable[Path], templates: Path) -> None:
    found = list(files)
    if not found:
        raise FileNotFoundError(f"no CRDs to make chart {_CRDS} of: is it pkg/imports/crds of tigera/operator?")
    for file in found:
        text = file.read_text()
        if "{{" in text:
            raise ValueError(f"{file} holds '{{{{', which Helm would take for a template: escape it in prepare()")
        (templates / file.name).write_text(text)
