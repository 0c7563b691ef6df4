"""Every answer of the eviction API, one by one, on a real API server: told apart, in words, and never hammered."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.faults.proxy import EVICTION, Fault
from tests.faults.stage import Stage

BUDGETS = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
APART = 1.9
"""Seconds between two requests for one pod: two, less what a clock may lose."""


def answer(status: int, message: str, **details: Any) -> Fault:
    body = {"kind": "Status", "code": status, "message": message, "details": details}
    return Fault(method="POST", path=f"shop{EVICTION}", status=status, body=body, times=None)


def apart(stage: Stage, since: float) -> None:
    """No pod was asked for more often than every two seconds."""
    asked: dict[str, list[float]] = defaultdict(list)
    for request in list(stage.api.requests):
        if request.path.split("?")[0].endswith("/eviction") and request.at >= since:
            asked[request.path].append(request.at)
    assert asked, "no pod was asked for"
    quick = {
        path: round(b - a, 2)
        for path, times in asked.items()
        for a, b in itertools.pairwise(sorted(times))
        if b - a < APART
    }
    assert quick == {}


def stopped(stage: Stage, seconds: float, words: str) -> None:
    """A run that cannot go on ends at its deadline, and says why."""
    since = time.monotonic()
    run = stage.refresh("cilium", "--deadline", str(seconds / 60)).wait()
    assert run.code == 1, run.text
    assert "the time is over" in run.text
    assert words in run.text, run.text
    assert any(words in wait["reason"] for wait in run.said["waits"])
    apart(stage, since)


FORGED = {
    "the server is busy": (answer(429, "Too many requests, please try again later."), "overloaded"),
    "the server fails": (answer(500, "etcdserver: leader changed"), "the API server failed"),
    "the server is not there": (answer(503, "apiserver not ready"), "the API server failed"),
    "the server takes too long": (answer(504, "Timeout: request did not complete"), "did not answer"),
    "this identity may not": (answer(403, 'pods "x" is forbidden: User "u" cannot create'), "may not create pods/eviction"),
    "too many are on their way": (answer(403, "DisruptedPods map too big"), "too many pods on their way"),
    "its namespace ends": (
        answer(403, "being terminated", causes=[{"reason": "NamespaceTerminating"}]),
        "its namespace is being deleted",
    ),
    "its name has another pod": (answer(409, "the UID in the precondition does not match"), "another pod has its name"),
    "the connection ends": (Fault(method="POST", path=f"shop{EVICTION}", cut="before", times=None), "did not answer"),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "words"), FORGED.values(), ids=FORGED)
def test_an_answer_that_stays_ends_the_run_in_its_own_words(stage: Stage, fault: Fault, words: str):
    with stage.api.broken(fault):
        stopped(stage, 12, words)
    run = stage.refresh("cilium").wait()
    assert run.code == 0, run.text
    stage.settled("away")


@contextmanager
def two_budgets(stage: Stage) -> Iterator[None]:
    stage.apply(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "second", "namespace": "shop"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        }
    )
    try:
        yield
    finally:
        stage.kube.delete(f"{BUDGETS}/second")


@contextmanager
def budget_at_zero(stage: Stage) -> Iterator[None]:
    stage.kube.patch(f"{BUDGETS}/web", {"spec": {"maxUnavailable": 0}})
    try:
        yield
    finally:
        stage.kube.patch(f"{BUDGETS}/web", {"spec": {"maxUnavailable": 1}})


@contextmanager
def policy_that_refuses(stage: Stage) -> Iterator[None]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"]}
    stage.kube.call(
        "POST",
        f"{ADMISSION}/validatingadmissionpolicies",
        {
            "metadata": {"name": "no-evictions"},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression": "object.metadata.namespace != 'shop'", "message": "not today"}],
            },
        },
    )
    stage.kube.call(
        "POST",
        f"{ADMISSION}/validatingadmissionpolicybindings",
        {
            "metadata": {"name": "no-evictions"},
            "spec": {"policyName": "no-evictions", "validationActions": ["Deny"]},
        },
    )
    time.sleep(1)  # the API server takes policies in with a delay
    try:
        yield
    finally:
        stage.kube.delete(f"{ADMISSION}/validatingadmissionpolicybindings/no-evictions")
        stage.kube.delete(f"{ADMISSION}/validatingadmissionpolicies/no-evictions")
        time.sleep(1)


@contextmanager
def webhook_that_is_down(stage: Stage) -> Iterator[None]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"]}
    stage.kube.call(
        "POST",
        f"{ADMISSION}/validatingwebhookconfigurations",
        {
            "metadata": {"name": "no-evictions"},
            "webhooks": [
                {
                    "name": "drain.example.com",
                    "rules": [rule],
                    "clientConfig": {"url": "https://127.0.0.1:9/nobody"},
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "timeoutSeconds": 1,
                }
            ],
        },
    )
    time.sleep(1)
    try:
        yield
    finally:
        stage.kube.delete(f"{ADMISSION}/validatingwebhookconfigurations/no-evictions")
        time.sleep(1)


REAL = {
    "a second budget selects the pod": (two_budgets, "more than one PodDisruptionBudget"),
    "a budget allows none": (budget_at_zero, "allows no disruption now"),
    "an admission policy refuses": (policy_that_refuses, "an admission webhook or policy refuses"),
    "a webhook that fails closed is down": (webhook_that_is_down, "an admission webhook or policy refuses"),
}


@pytest.mark.parametrize(("obstacle", "words"), REAL.values(), ids=REAL)
def test_a_refusal_of_the_real_server_is_named_and_gone_when_its_cause_is(stage: Stage, obstacle: Any, words: str):
    with obstacle(stage):
        stopped(stage, 12, words)
    run = stage.refresh("cilium").wait()
    assert run.code == 0, run.text
    stage.settled("away")


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(stage: Stage):
    fault = answer(429, "Too many requests, please try again later.")
    fault.headers, fault.times = {"Retry-After": "3"}, 1
    since = len(stage.api.requests)
    with stage.api.broken(fault):
        run = stage.refresh("cilium").wait()
    assert run.code == 0, run.text
    asked = stage.api.requests[since:]
    changes = sorted(r.at for r in asked if r.method in ("PATCH", "POST") and "lease" not in r.path)
    refused = next(r.at for r in asked if r.status == 429)
    begun = [at for at in changes if refused + 0.3 < at < refused + 2.9]  # what was on its way already may arrive
    assert begun == []


def test_a_pod_that_is_gone_already_counts_as_moved(stage: Stage):
    """Somebody deletes it between the watch and the request."""
    fault = Fault(method="POST", path="/pods/web-[^/]+/eviction", delay=1.5, times=1)
    with stage.api.broken(fault):
        run = stage.refresh("cilium")
        stage.until(lambda: fault.used)
        node = next(n for n in stage.nodes("aws") if n["spec"].get("unschedulable"))["metadata"]["name"]
        victim = next(p for p in stage.pods("web") if p["spec"].get("nodeName") == node)
        stage.kube.delete(f"/api/v1/namespaces/shop/pods/{victim['metadata']['name']}", grace=0)
        run.wait()
    assert run.code == 0, run.text
    stage.settled("away")
