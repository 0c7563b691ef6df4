"""Which stack, which cluster, which credentials."""

import base64
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from kube.cluster import Cluster
from kube.transport import KubeError, Obj
from migration.settings import InvalidSettings
from operations.access import connection, context
from operations.access.connection import Aws, WrongClusterError
from operations.access.context import Context
from operations.exits import UsageError
from tests.transport import Answering
from tests.unit.operations.world import ACCOUNT, NAME, REGION, FakeAws, facts

CONFIG = {
    "aws:region": REGION,
    "eks-cilium:journey": "greenfield",
    "eks-cilium:stage": "launch",
    "eks-cilium:cluster": {"name": NAME},
    "eks-cilium:network": {"vpcId": "vpc-01", "subnetIds": ["subnet-0a", "subnet-0b"], "vpcCidrs": ["10.0.0.0/16"]},
    "eks-cilium:cilium": {"groups": [{"name": "workers", "size": "2"}]},
    "eks-cilium:soakMinutes": "0",
}


def write(directory: Path, changes: Mapping[str, object] = {}, *, stack: str = "dev") -> None:
    (directory / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": {**CONFIG, **changes}}))


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for variable in ("PULUMI_STACK", "AWS_REGION", "AWS_DEFAULT_REGION", "KUBECONFIG"):
        monkeypatch.delenv(variable, raising=False)


def test_a_stack_file_becomes_settings_as_pulumi_reads_it(tmp_path: Path):
    write(tmp_path)
    loaded = Context.load("org/eks-cilium/dev", tmp_path)
    assert (loaded.stack, loaded.cluster_name, loaded.aws.region) == ("dev", NAME, REGION)
    assert loaded.settings.soak_minutes == 0
    assert loaded.settings.cilium.groups[0].size == 2


def test_the_only_stack_needs_no_name_and_two_are_listed(tmp_path: Path):
    write(tmp_path, stack="dev")
    assert Context.load(None, tmp_path).stack == "dev"
    write(tmp_path, stack="prod")
    with pytest.raises(UsageError, match="one of: dev, prod"):
        Context.load(None, tmp_path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"eks-cilium:stage": {"secure": "AAA"}}, "eks-cilium:stage is encrypted"),
        ({"aws:region": None}, "no region: set aws:region in Pulumi.dev.yaml"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, changes, expected):
    write(tmp_path, changes)
    with pytest.raises(UsageError, match=expected):
        Context.load("dev", tmp_path)


def test_a_missing_file_says_so(tmp_path: Path):
    with pytest.raises(UsageError, match=r"Pulumi.dev.yaml does not exist"):
        Context.load("dev", tmp_path)


def test_wrong_settings_name_every_problem(tmp_path: Path):
    write(tmp_path, {"eks-cilium:soakMinuts": "1", "eks-cilium:journey": "sideways"})
    with pytest.raises(InvalidSettings, match="2 problems"):
        Context.load("dev", tmp_path)


def test_an_adopted_cluster_without_facts_asks_for_the_survey(tmp_path: Path):
    write(tmp_path, {"eks-cilium:cluster": {"name": NAME, "adopt": True}})
    loaded = Context.load("dev", tmp_path)
    assert loaded.facts is None
    with pytest.raises(UsageError, match="python -m operations survey"):
        loaded.surveyed()


def test_a_token_names_the_cluster_in_a_signed_header(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    made = connection.token(Aws(REGION), NAME)
    prefix, _, body = made.partition(".")
    url = urlsplit(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode())
    query = parse_qs(url.query)
    assert prefix == "k8s-aws-v1"
    assert query["Action"] == ["GetCallerIdentity"]
    assert "x-k8s-aws-id" in query["X-Amz-SignedHeaders"][0].split(";")
    assert int(query["X-Amz-Expires"][0]) <= 60


def test_a_token_is_made_anew_before_it_is_too_old(monkeypatch):
    now, made = [0.0], list[float]()

    def token(*_: object) -> str:
        made.append(now[0])
        return f"t{len(made)}"

    monkeypatch.setattr("operations.access.connection.time.monotonic", lambda: now[0])
    monkeypatch.setattr(connection, "token", token)

    class Settings:
        api_key: dict[str, str] = {}  # noqa: RUF012

    refresh = connection._refresher(Aws(REGION), NAME)
    for seconds in (0, 600, 839, 841, 1600):
        now[0] = float(seconds)
        refresh(Settings)
    assert made == [0.0, 841.0]
    assert Settings.api_key["BearerToken"] == "t2"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("https://ABC.gr7.eks.amazonaws.com", "https://abc.gr7.eks.amazonaws.com:443", True),
        ("https://127.0.0.1:6443", "https://127.0.0.1:6443/", True),
        ("https://127.0.0.1:6443", "https://127.0.0.1:6444", False),
        ("https://a.example", "https://b.example", False),
    ],
)
def test_addresses_of_api_servers_are_compared(first, second, same):
    assert connection.same_server(first, second) is same


def test_a_kubeconfig_of_another_cluster_is_refused(tmp_path: Path, monkeypatch):
    path = tmp_path / "kubeconfig"
    entry = {"name": "x", "cluster": {"server": "https://elsewhere.example"}}
    choice = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    file = {"clusters": [entry], "contexts": [choice], "users": [{"name": "x", "user": {}}], "current-context": "x"}
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **file}))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    answers = {"describe_cluster": {"cluster": {"endpoint": "https://here.example", "status": "ACTIVE"}}}
    aws = Aws(REGION, lambda _: FakeAws(answers))
    with pytest.raises(WrongClusterError, match=r"KUBECONFIG leads to https://elsewhere\.example"):
        connection.connect(aws, NAME)


def test_another_cluster_of_the_same_name_is_refused(tmp_path: Path, monkeypatch):
    """By whichever command: what a deploy, `label`, `recover` or `policy --live` reads goes through one connection."""
    meant, found = (f"arn:aws:eks:{REGION}:{account}:cluster/{NAME}" for account in (ACCOUNT, "999988887777"))
    described = {"cluster": {"endpoint": "https://here.example", "status": "ACTIVE", "arn": found}}
    monkeypatch.setattr(Aws, "client", lambda *_: FakeAws({"describe_cluster": described}))
    write(tmp_path, {"eks-cilium:cluster": {"name": NAME, "adopt": True}})
    known = facts()
    assert known.cluster.arn == meant
    (tmp_path / "facts.dev.yaml").write_text(known.dump())
    with pytest.raises(WrongClusterError, match=f"the facts are about {meant}, the cluster found is {found}"):
        Context.load("dev", tmp_path).kube.nodes()
    with pytest.raises(KeyError, match="certificateAuthority"):  # the survey reads it: its facts are the new ones
        Context.load("dev", tmp_path, surveys=True).kube.nodes()


def test_a_cluster_that_does_not_exist_is_named():
    aws = Aws(REGION, lambda _: FakeAws({"describe_cluster": None}))
    with pytest.raises(WrongClusterError, match="EKS cluster shop does not exist in eu-west-1"):
        connection.connect(aws, NAME)


def test_lists_are_read_page_by_page():
    pages: dict[str, Obj] = {
        "": {"items": [{"a": 1}], "metadata": {"continue": "next"}},
        "next": {"items": [{"a": 2}]},
    }

    def api(method: str, path: str, **_: object) -> Obj:
        return pages[parse_qs(urlsplit(path).query).get("continue", [""])[0]]

    assert Cluster(lambda: Answering(api)).nodes() == [{"a": 1}, {"a": 2}]


def test_a_kind_that_is_not_served_has_no_objects_and_a_refusal_is_an_error():
    def api(status):
        def call(method: str, path: str, **_: object) -> Obj:
            raise KubeError(status, str(status))

        return call

    assert Cluster(lambda: Answering(api(404))).custom("cilium.io/v2", "ciliumnodes") == []
    with pytest.raises(KubeError):
        Cluster(lambda: Answering(api(403))).custom("cilium.io/v2", "ciliumnodes")


def test_a_stack_name_may_come_from_the_environment(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("PULUMI_STACK", "prod")
    assert context.stack_name(None, tmp_path) == "prod"


@pytest.mark.parametrize("inline", [True, False])
def test_what_runs_after_a_rename_takes_the_stack_that_names_its_cluster(tmp_path: Path, inline: bool):
    def stack(name: str, cluster: str) -> None:
        value = f"{{name: {cluster}}}" if inline else f'\'{{"name": "{cluster}"}}\''
        (tmp_path / f"Pulumi.{name}.yaml").write_text(f"config:\n  eks-cilium:cluster: {value}\n")

    (tmp_path / "Pulumi.broken.yaml").write_text("config: {")
    stack("prod", "shop")
    assert context.renamed("prod", "shop", tmp_path) == "prod"
    stack("other", "desk")
    (tmp_path / "Pulumi.prod.yaml").rename(tmp_path / "Pulumi.live.yaml")
    assert context.renamed("prod", "shop", tmp_path) == "live"
    stack("prod", "desk")  # a new stack took the old name
    assert context.renamed("prod", "shop", tmp_path) == "live"
    stack("twin", "shop")
    with pytest.raises(UsageError, match="does not name the cluster shop; live, twin do"):
        context.renamed("prod", "shop", tmp_path)
    with pytest.raises(UsageError, match="no other file here does"):
        context.renamed("prod", "gone", tmp_path)
