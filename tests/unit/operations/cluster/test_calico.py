"""From which API group Calico enforces, and that an empty one beside a running Calico is no answer."""

from pathlib import Path
from typing import Any

import pytest

from kube.cluster import Cluster
from kube.transport import KubeError, Obj
from migration.facts import Verdict as Decided
from migration.journeys import CheckId
from operations.checks import registry
from operations.cluster import calico
from operations.evidence import UnknownError, Verdict
from operations.guarding import freeze
from tests.unit.operations import world as w
from tests.unit.survey.test_decisions import decisions


class Groups(w.FakeApi):
    """An API server that serves only some of Calico's groups."""

    def __init__(self, objects: list[Obj], served: set[str], failing: str = "") -> None:
        super().__init__(objects)
        self.served, self.failing = served, failing

    def __call__(self, method: str, path: str, **more: Any) -> Obj:
        group = path.removeprefix("/apis/").split("/")[0]
        if self.failing and group == self.failing:
            raise KubeError(503, "503 the API service is not available")
        if group.endswith("projectcalico.org") and group not in self.served:
            raise KubeError(404, "404 no such kind")
        return super().__call__(method, path, **more)


def node_agent(**env: str) -> Obj:
    found = w.daemonset("calico-node", "calico-system", 1, image="calico/node:v3.32.1")
    found["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": k, "value": v} for k, v in env.items()]
    return found


def cluster(*objects: Obj, served: tuple[str, ...] = ("crd", ""), failing: str = "") -> Cluster:
    groups = {f"{prefix}.projectcalico.org".strip(".") for prefix in (*served, "migration")}
    return Cluster(lambda: Groups(list(objects), groups, failing))


STORED, NATIVE = w.thing("Tier", "default"), w.thing("NativeTier", "default")


def moved(phase: str) -> Obj:
    return w.thing("DatastoreMigration", "one", status={"phase": phase})


@pytest.mark.parametrize(
    ("objects", "served", "api"),
    [
        ([node_agent(), STORED], ("crd",), calico.STORED),
        ([node_agent(), STORED, NATIVE], ("crd", ""), calico.STORED),
        ([node_agent(), NATIVE], ("",), calico.NATIVE),
        ([node_agent(CALICO_API_GROUP="projectcalico.org/v3"), STORED, NATIVE], ("crd", ""), calico.NATIVE),
        ([node_agent(CALICO_API_GROUP="crd.projectcalico.org/v1"), STORED, NATIVE], ("crd", ""), calico.STORED),
        ([node_agent(), STORED, NATIVE, moved("Converged")], ("crd", ""), calico.NATIVE),
        ([node_agent(), STORED, NATIVE, moved("Pending")], ("crd", ""), calico.STORED),
        ([], (), calico.STORED),
    ],
)
def test_the_group_is_the_one_from_which_calico_itself_enforces(objects, served, api):
    assert calico.api(cluster(*objects, served=served)) == api


@pytest.mark.parametrize(
    ("objects", "served"),
    [
        ([node_agent()], ("crd",)),
        ([node_agent()], ()),
        ([node_agent(), NATIVE], ("crd", "")),
        ([node_agent(CALICO_API_GROUP="projectcalico.org/v3"), STORED], ("crd", "")),
        ([node_agent(), STORED, moved("Migrating")], ("crd", "")),
        ([node_agent(), STORED, NATIVE, moved("WaitingForConflictResolution")], ("crd", "")),
    ],
)
def test_a_calico_that_runs_and_is_seen_nowhere_is_unknown(objects, served):
    with pytest.raises(UnknownError):
        calico.api(cluster(*objects, served=served))


def test_calicos_own_api_server_may_fail_where_it_is_not_asked():
    assert calico.api(cluster(node_agent(), STORED, failing="projectcalico.org")) == calico.STORED
    with pytest.raises(KubeError, match="503"):
        calico.api(cluster(node_agent(), served=(), failing="projectcalico.org"))


def test_what_the_freeze_keeps_is_read_from_where_calico_takes_it():
    policy = w.thing("NativePolicy", "x", spec={"selector": "all()"})
    assert list(freeze.live(cluster(node_agent(), NATIVE, policy, served=("",)))) == ["globalnetworkpolicies/x"]


def test_a_survey_refuses_what_its_files_and_freeze_do_not_cover():
    native = decisions(calico_api=calico.NATIVE)["Calico"]
    untold = decisions(calico_untold="calico-node runs and nothing is there")["Calico"]
    assert (native.verdict, untold.verdict) == (Decided.REFUSED, Decided.REFUSED)
    assert "projectcalico.org/v3" in str(native.reason)


@pytest.mark.parametrize("check", [CheckId.POLICIES_AGREE, CheckId.CALICO_UNCHANGED])
def test_a_gate_does_not_pass_over_policies_that_are_seen_nowhere(check: CheckId, tmp_path: Path):
    world = w.moved_world(tmp_path)
    world.drop("Tier", "default")
    evidence = registry()[check](world.context)
    assert evidence.verdict is Verdict.UNKNOWN
    assert "where its policies are cannot be told" in str(evidence.findings)
