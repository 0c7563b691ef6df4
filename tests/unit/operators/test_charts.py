"""The stand-in charts hold together, and their definitions are taken from where they are told."""

from pathlib import Path

import pytest
import yaml

from sandbox import charts


def definitions(root: Path, text: str) -> Path:
    for folder, name in (
        ("calico/v1.crd.projectcalico.org", "crd.projectcalico.org_tiers.yaml"),
        ("calico/v3.projectcalico.org", "projectcalico.org_tiers.yaml"),
        ("operator", "operator.tigera.io_installations.yaml"),
        ("operator", "operator.tigera.io_managers.yaml"),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_text(text)
    return root


def test_both_charts_are_written_with_the_definitions_of_open_source_calico_only(tmp_path):
    made = charts.prepare(tmp_path / "out", definitions(tmp_path / "crds", "kind: CustomResourceDefinition\n"))
    found = {file.name for file in (made["crd.projectcalico.org.v1"] / "templates").iterdir()}
    assert found == {"crd.projectcalico.org_tiers.yaml", "operator.tigera.io_installations.yaml"}
    versions = {yaml.safe_load((path / "Chart.yaml").read_text())["version"] for path in made.values()}
    assert len(versions) == 1


def test_charts_are_made_anew_over_old_ones(tmp_path):
    crds = definitions(tmp_path / "crds", "kind: CustomResourceDefinition\n")
    (charts.prepare(tmp_path / "out", crds)["tigera-operator"] / "templates" / "stale.yaml").write_text("x")
    assert not (charts.prepare(tmp_path / "out", crds)["tigera-operator"] / "templates" / "stale.yaml").exists()


@pytest.mark.parametrize(("text", "error"), [("{{ x }}", ValueError), (None, FileNotFoundError)])
def test_definitions_that_helm_cannot_carry_are_refused(tmp_path, text, error):
    crds = definitions(tmp_path / "crds", text) if text else tmp_path / "nowhere"
    with pytest.raises(error):
        charts.prepare(tmp_path / "out", crds)
