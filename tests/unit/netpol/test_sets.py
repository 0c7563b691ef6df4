"""Sets of addresses from AWS's published ranges: what is in them, what is left out, and whether Cilium can hold them."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from migration import manifests
from netpol import load
from operations.exits import UsageError
from operations.policy import main, sets

LINES = [
    ("52.94.0.0/24", "eu-west-1", "AMAZON"),
    ("52.94.1.0/24", "eu-west-1", "AMAZON"),
    ("52.95.0.0/16", "eu-west-1", "AMAZON"),
    ("52.95.128.0/17", "eu-west-1", "EC2"),
    ("54.240.0.0/24", "us-east-1", "AMAZON"),
    ("99.77.0.0/24", "GLOBAL", "AMAZON"),
    ("52.218.0.0/17", "eu-west-1", "S3"),
    ("52.218.0.0/17", "eu-west-1", "AMAZON"),
    ("3.0.0.0/24", "eu-west-1", "EC2"),
    ("3.0.0.0/24", "eu-west-1", "CODEBUILD"),
]


def published(lines: Any = LINES, six: Any = (("2a05:d000::/40", "eu-west-1", "AMAZON"),)) -> dict[str, Any]:
    return {
        "syncToken": "1",
        "createDate": "2026-11-01-00-00-00",
        "prefixes": [{"ip_prefix": n, "region": r, "service": s, "network_border_group": r} for n, r, s in lines],
        "ipv6_prefixes": [{"ipv6_prefix": n, "region": r, "service": s} for n, r, s in six],
    }


def of(*, services: list[str], regions: list[str], **more: Any) -> list[str]:
    known, made = sets.prefixes(json.dumps(published()), "f")
    found = sets.chosen(known, name="aws-api", services=services, regions=regions, made=made, **more)
    return [str(n) for n in found.networks]


def test_a_region_is_put_together_and_instances_are_left_out():
    assert of(services=["AMAZON"], regions=["eu-west-1"]) == ["52.94.0.0/23", "52.95.0.0/17", "52.218.0.0/17"]


def test_services_and_regions_add_up():
    assert of(services=["S3"], regions=["eu-west-1"]) == ["52.218.0.0/17"]
    assert of(services=["AMAZON"], regions=["us-east-1", "GLOBAL"]) == ["54.240.0.0/24", "99.77.0.0/24"]


def test_what_is_excepted_is_not_in_it():
    without = [ipaddress.ip_network("52.94.0.0/24"), ipaddress.ip_network("52.218.0.0/18")]
    found = of(services=["AMAZON"], regions=["eu-west-1"], without=without)
    assert found == ["52.94.1.0/24", "52.95.0.0/17", "52.218.64.0/18"]


def test_both_families_where_both_are_asked_for():
    found = of(services=["AMAZON"], regions=["eu-west-1"], families=(4, 6))
    assert found[-1] == "2a05:d000::/40"
    assert "2a05:d000::/40" not in of(services=["AMAZON"], regions=["eu-west-1"])


@pytest.mark.parametrize(
    ("services", "regions", "words"),
    [
        (["EC2"], ["eu-west-1"], "everybody's instances"),
        (["AMAZN"], ["eu-west-1"], "It knows AMAZON"),
        (["AMAZON"], ["eu-west-9"], "It knows eu-west-1"),
        (["CODEBUILD"], ["eu-west-1"], "nothing is left of CODEBUILD in eu-west-1: 1 prefixes"),
    ],
)
def test_what_cannot_be_meant_is_refused(services: list[str], regions: list[str], words: str):
    with pytest.raises(UsageError, match=words):
        of(services=services, regions=regions)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ([], "no object at its top"),
        ({"prefixes": 1}, "`prefixes` is missing"),
        ({"prefixes": [1]}, r"prefixes\[0\]: expected texts ip_prefix, region and service"),
        ({"prefixes": [{"ip_prefix": "52.94.0.1/24", "region": "r", "service": "s"}]}, "has host bits set"),
        ({"ipv6_prefixes": [{"ipv6_prefix": "10.0.0.0/8", "region": "r", "service": "s"}]}, "is not of IPv6"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_place(change: Any, words: str):
    text = json.dumps(change if isinstance(change, list) else {**published(), **change})
    with pytest.raises(UsageError, match=f"ranges.json: {words}|ranges.json.*{words}"):
        sets.prefixes(text, "ranges.json")


# -- the command ------------------------------------------------------------------------------------


def call(capsys: pytest.CaptureFixture[str], directory: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    file = directory / "ip-ranges.json"
    if not file.exists():
        file.write_text(json.dumps(published()))
    code = main(["sets", "--aws-ranges", str(file), *arguments])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else {}, captured.err


ASKED = ("--service", "AMAZON", "--region", "eu-west-1")


@pytest.mark.parametrize("left_out", [ASKED[:2], ASKED[2:]])
def test_service_and_region_are_both_required(left_out: tuple[str, ...], tmp_path: Path, capsys):
    code, _, text = call(capsys, tmp_path, *left_out)
    assert code == 64
    assert "required: --" in text


def test_it_writes_what_can_be_deployed_and_says_who_stops_working(tmp_path: Path, capsys):
    out = tmp_path / "network"
    code, answer, text = call(capsys, tmp_path, *ASKED, "--out", str(out))
    assert code == 0
    assert answer["networks"] == ["52.94.0.0/23", "52.95.0.0/17", "52.218.0.0/17"]
    assert (answer["entries"], answer["mostEntries"]) == (3, 16384)
    assert "4 prefixes, made 2026-11-01-00-00-00, without EC2" in text
    for service in ("STS", "ECR", "EKS"):
        assert f"without a name of its own: {service}:" in text
    for engine in ("calico", "cilium"):
        [manifest] = manifests.load(out, engine)
        assert manifest.name == "aws-api"
    assert load([out / "calico"]).policies
    assert call(capsys, tmp_path, *ASKED, "--except", "52.94.0.0/16", "--out", str(out))[1]["entries"] == 2


def test_without_a_directory_it_prints(tmp_path: Path, capsys):
    _, answer, text = call(capsys, tmp_path, *ASKED)
    assert "kind: CiliumCIDRGroup" in text
    assert answer["written"] == []


def test_a_set_that_cilium_could_not_hold_is_refused(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(sets, "MOST_ENTRIES", 2)
    code, _, text = call(capsys, tmp_path, *ASKED)
    assert code == 64
    assert "3 of 2 entries of a policy map" in text
    assert "choose fewer services or regions" in text


@pytest.mark.parametrize("argument", ["52.94.0.1/24", "nonsense"])
def test_an_exception_that_is_no_network_is_refused(argument: str, tmp_path: Path, capsys):
    code, _, text = call(capsys, tmp_path, *ASKED, "--except", argument)
    assert code == 64
    assert "Write a network, such as 192.0.2.0/24" in text
