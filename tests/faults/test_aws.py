"""An account that throttles, has no capacity, protects, rebalances, refuses, or takes the credentials away."""

from __future__ import annotations

import time

import pytest

from tests.faults.proxy import Fault
from tests.faults.stage import HOME, NAME, NODES, Stage

TERMINATE = "TerminateInstanceInAutoScalingGroup"


def every(code: str, *services: str, times: int | None = None) -> list[dict[str, object]]:
    more = {} if times is None else {"times": times}
    return [{"service": s, "operation": "*", "code": code, "status": 400, **more} for s in services]


def gone_well(stage: Stage, run) -> None:
    run.wait(180)
    assert run.code == 0, run.text
    stage.settled("away")


def test_throttling_is_waited_out(stage: Stage):
    run = stage.refresh("cilium")
    stage.until(lambda: "SoftTaint 1 before" in run.boundaries)
    with stage.world(faults=every("Throttling", "eks", "autoscaling", "elbv2", "ec2", times=25)):
        gone_well(stage, run)


def test_credentials_that_run_out_half_way_and_come_back_cost_time_and_nothing_else(stage: Stage):
    run = stage.refresh("cilium")
    stage.until(lambda: "Cordon 1 after" in run.boundaries)
    with stage.world(faults=every("ExpiredToken", "eks", "autoscaling", "elbv2", "ec2")):
        time.sleep(6)
        assert run.running, run.text
        assert len(stage.nodes("aws")) == NODES
    gone_well(stage, run)


def test_credentials_that_have_run_out_before_are_one_clear_error(stage: Stage):
    with stage.world(faults=every("ExpiredToken", "eks", "sts", "autoscaling")):
        run = stage.refresh("cilium").wait()
    assert run.code not in (0, None)
    assert "ExpiredToken" in run.text
    assert "Traceback" not in run.text
    assert stage.state()["marked"] == []


def test_without_capacity_no_old_node_is_touched_and_the_reason_is_said(stage: Stage):
    with stage.world(no_capacity=[{"instance_type": "m5.large"}]):
        run = stage.refresh("cilium", "--deadline", "0.25").wait()
        assert run.code == 1, run.text
        assert "capacity" in run.text, run.text
        assert not any(n["spec"].get("unschedulable") for n in stage.nodes("aws"))
    gone_well(stage, stage.refresh("cilium"))


def test_a_minimum_that_somebody_raises_is_lowered_again_before_a_node_ends(stage: Stage):
    run = stage.refresh("cilium")
    stage.until(lambda: "Cordon 1 after" in run.boundaries)
    stage.eks.update_nodegroup_config(clusterName=NAME, nodegroupName="general", scalingConfig={"minSize": NODES})
    gone_well(stage, run)


def test_instances_that_are_protected_from_scale_in_are_ended_by_name(stage: Stage):
    group = stage.scaling_group("general")
    stage.scaling.set_instance_protection(
        AutoScalingGroupName=group["AutoScalingGroupName"],
        InstanceIds=[i["InstanceId"] for i in group["Instances"]],
        ProtectedFromScaleIn=True,
    )
    gone_well(stage, stage.refresh("cilium"))


def test_rebalancing_that_somebody_resumes_is_suspended_again(stage: Stage):
    """With rebalancing on, Auto Scaling may end a node that nobody has emptied; the checker would see it."""
    with stage.world(rebalance_delay=0.1):
        run = stage.refresh("cilium")
        stage.until(lambda: "Cordon 1 after" in run.boundaries)
        name = stage.scaling_group("general")["AutoScalingGroupName"]
        stage.scaling.resume_processes(AutoScalingGroupName=name, ScalingProcesses=["AZRebalance"])
        gone_well(stage, run)
    assert sum(step.startswith("Rebalance") and step.endswith("after") for step in run.boundaries) >= 3
    assert stage.state()["suspended"] == []


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("action", [TERMINATE, "UpdateNodegroupConfig", "SuspendProcesses", "DeregisterTargets"])
def test_a_call_whose_answer_is_lost_is_made_again_without_harm(stage: Stage, action: str, cut: str):
    fault = Fault(action=action, cut=cut, times=1)
    with stage.cloud.broken(fault):
        gone_well(stage, stage.refresh("cilium"))
    assert fault.used


def test_an_instance_is_looked_at_before_it_is_told_to_end_a_second_time(stage: Stage):
    """A second call would shrink the group by one more, and Auto Scaling would end a node that nobody has emptied."""
    before = len(stage.cloud.requests)
    with stage.cloud.broken(Fault(action=TERMINATE, cut="after", times=1)):
        gone_well(stage, stage.refresh("cilium"))
    told = [r.action for r in stage.cloud.requests[before:] if r.action in (TERMINATE, "DescribeAutoScalingInstances")]
    assert told.count(TERMINATE) == NODES, told


def test_a_group_that_is_being_updated_by_somebody_is_waited_for(stage: Stage):
    with stage.world(update_delay=4):
        stage.eks.update_nodegroup_config(
            clusterName=NAME, nodegroupName="general", labels={"addOrUpdateLabels": {"team": "x"}}
        )
        run = stage.refresh("cilium").wait(180)
    assert run.code == 0, run.text
    stage.settled("away")
    assert HOME["general"][2] == stage.sizes("general")[2]
