"""While both engines enforce, Calico's policies change through the stack or not at all."""

from pathlib import Path
from typing import Any

import pytest

from migration.guarding.freeze import MESSAGE
from migration.names import FREEZE_POLICY
from operations.checks import AGAIN
from tests.engine.hands import ADMISSION, CALICO, Hands, Refusal, assert_says, eventually, policy_files
from tests.engine.journey import Journey

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300, func_only=True)]

POLICIES = f"{CALICO}/globalnetworkpolicies"
OURS = f"{POLICIES}/platform.deny-instance-metadata"
KUBERNETES = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"


def calico(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def refusal(hands: Hands, method: str, path: str, body: Any = None, manager: str = "kubectl-edit") -> str:
    with pytest.raises(Refusal) as caught:
        hands.request(method, path, body, manager=manager)
    assert caught.value.code == 403
    return str(caught.value)


@pytest.mark.parametrize("stage", ["install-cilium", "retire-legacy"])
def test_nobody_else_changes_a_calico_policy(replace_walk: Journey, stage: str):
    hands = Hands(replace_walk.at(stage))
    looser = {"spec": {"egress": [{"action": "Allow"}]}}
    told = {
        refusal(hands, "POST", POLICIES, calico("GlobalNetworkPolicy", "default.mine", selector="all()")),
        refusal(hands, "POST", f"{CALICO}/globalnetworksets", calico("GlobalNetworkSet", "mine", nets=["10.0.0.0/8"])),
        refusal(hands, "PATCH", OURS, looser),
        refusal(hands, "PATCH", OURS, looser, manager="helm"),
        refusal(hands, "PATCH", f"{CALICO}/tiers/platform", {"spec": {"order": 900}}),
    }
    if stage != "retire-legacy":  # there the stack has marked its own: the next deploy deletes them
        told |= {refusal(hands, "DELETE", OURS), refusal(hands, "DELETE", f"{CALICO}/tiers/platform")}
    assert all(MESSAGE in text for text in told), told
    assert hands.get(OURS)["spec"]["egress"][0]["action"] == "Deny"


def test_other_objects_are_free(replace_walk: Journey):
    hands = Hands(replace_walk.at("canary"))
    policy = {"metadata": {"name": "mine"}, "spec": {"podSelector": {"matchLabels": {"app": "web"}}}}
    hands.create(KUBERNETES, policy)
    hands.patch(f"{KUBERNETES}/mine", {"spec": {"policyTypes": ["Ingress"]}})
    hands.delete(f"{KUBERNETES}/mine")
    hands.patch("/api/v1/namespaces/shop", {"metadata": {"labels": {"team": "retail"}}})
    hands.create("/api/v1/namespaces", {"metadata": {"name": "later"}})
    hands.delete("/api/v1/namespaces/later")
    hands.create(f"{CALICO}/ippools", calico("IPPool", "mine", cidr="192.168.0.0/24"))
    hands.delete(f"{CALICO}/ippools/mine")


def test_the_stack_itself_changes_both_engines_and_nobody_is_blamed(replace_walk: Journey, tmp_path: Path):
    walked = replace_walk.at("install-cilium")
    hands = Hands(walked)
    files = policy_files(walked, tmp_path)
    for path, also in (
        (files / "calico" / "deny-instance-metadata.yaml", "169.254.169.254/32, 169.254.170.2/32"),
        (files / "cilium" / "deny-instance-metadata.yaml", "169.254.169.254/32, 169.254.170.2/32"),
    ):
        path.write_text(path.read_text().replace("169.254.169.254/32", also))
    (files / "calico" / "more.yaml").write_text(
        "apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkSet\nmetadata: {name: auditors}\n"
        "spec: {nets: [203.0.113.0/24]}\n"
    )
    walked.set(policies=str(files))
    deployed = walked.up()
    assert deployed.code == 0, deployed
    assert hands.get(OURS)["spec"]["egress"][0]["destination"]["nets"][-1] == "169.254.170.2/32"
    assert hands.get(f"{CALICO}/globalnetworksets/auditors")["spec"]["nets"] == ["203.0.113.0/24"]
    checked = walked.operations("check", "--check", "calico-unchanged", "--check", "policies-accepted", "--wait", "10")
    assert checked.code == 0, checked


def test_a_change_past_the_freeze_is_named_by_who_made_it(replace_walk: Journey):
    walked = replace_walk.at("install-cilium")
    hands = Hands(walked)
    binding = f"{ADMISSION}/validatingadmissionpolicybindings/{FREEZE_POLICY}"
    hands.patch(binding, {"spec": {"validationActions": ["Audit"]}})
    unbound = walked.operations("check", "--check", "calico-unchanged")
    assert unbound.code == 1, unbound
    assert_says(unbound, "is not bound to deny", AGAIN)
    eventually(lambda: passes(hands), "the API server's notice of the new binding")
    again = walked.up("--skip-preview", "--refresh")  # as the text says
    assert again.code == 0, again
    # A set to server-side apply: what somebody else put into it stays beside ours, and does no harm.
    assert "Deny" in hands.get(binding)["spec"]["validationActions"]
    assert hands.get(OURS)["spec"]["egress"][0]["action"] == "Deny"
    checked = walked.operations("check", "--check", "calico-unchanged")
    assert checked.code == 0, checked


def passes(hands: Hands) -> bool:
    """Whether somebody else's change of our policy goes through."""
    try:
        hands.patch(OURS, {"spec": {"egress": [{"action": "Allow"}]}}, manager="night-shift")
    except Refusal:
        return False
    return True


def test_what_went_on_while_the_freeze_was_away_is_found_after_it_is_back(replace_walk: Journey):
    walked = replace_walk.at("canary")
    hands = Hands(walked)
    names = [
        f"{ADMISSION}/{kind}/{FREEZE_POLICY}"
        for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
    ]
    kept = [hands.get(path) for path in names]
    for path in names:
        hands.delete(path)
    eventually(lambda: passes(hands), "the API server's notice that the freeze is gone")
    for path, body in zip(names, kept, strict=True):
        meta = {key: body["metadata"][key] for key in ("name",)}
        hands.create(path.rsplit("/", 1)[0], {"metadata": meta, "spec": body["spec"]}, manager="pulumi-kubernetes-1")
    # The change is older than the freeze by now: its time tells nothing.
    checked = walked.operations("check", "--check", "calico-unchanged")
    assert checked.code == 1, checked
    assert_says(
        checked, "globalnetworkpolicies/platform.deny-instance-metadata", "is not as it was since it was proved"
    )
    walked.set(stage="move-workloads")
    shown = walked.preview()
    assert_says(shown, "the gate of move-workloads does not pass", "is not as it was since it was proved")


def test_what_changed_after_its_proof_and_before_the_freeze_is_kept_only_once_it_is_proved(replace_walk: Journey):
    walked = replace_walk.at("pin-legacy")
    hands = Hands(walked)
    # Its file says what the gate proves; no deploy looks at the object as long as the file does not change.
    hands.patch(OURS, {"spec": {"egress": [{"action": "Allow"}]}}, manager="night-shift")
    stopped = walked.set(stage="install-cilium").up()
    assert stopped.code != 0, stopped
    assert_says(stopped, "do not keep every verdict, so their digests are not kept", "169.254.169.254")
    assert MESSAGE in refusal(hands, "PATCH", OURS, {"spec": {"order": 1}})
    again = walked.up("--skip-preview", "--refresh")
    assert again.code == 0, again
    checked = walked.operations("check", "--check", "calico-unchanged")
    assert checked.code == 0, checked
    assert_says(checked, "as proved: ")


def test_a_person_with_a_deployers_rights_is_refused_with_kubectl_and_told_what_to_do(replace_walk: Journey):
    walked = replace_walk.at("canary")
    stranger = refusal(Hands(walked), "PATCH", OURS, {"spec": {"order": 1}}, manager="pulumix")
    assert "is none of the deployers" in stranger
    assert MESSAGE in stranger
