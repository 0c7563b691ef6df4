"""`instances` shows what types have, and reads them anew from EC2."""

import json
from pathlib import Path

from migration.rules import instances
from operations.access.connection import Aws
from operations.cli import main
from operations.commands import instances as command
from tests.unit.migration.rules.test_instances import LARGE


class Ec2:
    """Answers DescribeInstanceTypes in two pages."""

    def get_paginator(self, operation):
        assert operation == "describe_instance_types"
        return self

    def paginate(self):
        return [{"InstanceTypes": [LARGE]}, {"InstanceTypes": [{**LARGE, "InstanceType": "m5.large"}]}]


def test_a_type_is_shown_with_the_pods_that_either_network_gives_it(capsys):
    assert main(["instances", "m5.large", "m4.large"]) == 0
    shown = json.loads(capsys.readouterr().out)["types"]
    assert shown["m5.large"]["max_pods"] == {"vpcCni": 29, "cilium": 30, "ciliumPrefixes": 110}
    assert shown["m4.large"]["max_pods"]["ciliumPrefixes"] is None


def test_an_unknown_type_fails_and_says_how_to_read_the_table_anew(capsys):
    assert main(["instances", "m5.lrage"]) == 1
    assert instances.REFRESH in capsys.readouterr().err
    assert Path(instances.REFRESH.split()[-1]).is_file()


def test_a_refresh_writes_all_pages_and_says_what_is_new(tmp_path: Path, capsys):
    path = tmp_path / "table.json"
    assert command._refresh(path, Aws("eu-west-1", lambda _: Ec2())) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["new"], told["changed"]) == (["m9x.large"], [])
    held = instances.load(path)
    assert held.types["m9x.large"].interfaces == 3
    assert held.source == "EC2 DescribeInstanceTypes, eu-west-1"


def test_without_a_region_nothing_is_read(monkeypatch, capsys, tmp_path: Path):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    assert main(["instances", "--refresh", str(tmp_path / "t.json")]) == 64
    assert "AWS_REGION" in capsys.readouterr().err
