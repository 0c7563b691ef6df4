"""What a pod asks its node to have is what the scheduler counts."""

from math import ceil

import pytest
from kubernetes.utils.quantity import parse_quantity

from operations.cluster.quantities import amount
from operations.refresh.cluster.needs import needs


@pytest.mark.parametrize(
    "text", ["1", "0.5", "250m", "1Gi", "128Mi", "1.5Gi", "2k", "1e3", "5E", "3Ei", "100u", "7n", "1M"]
)
def test_quantities_are_read_as_kubernetes_reads_them(text):
    assert amount(text) == ceil(parse_quantity(text))
    assert amount(text, thousandths=True) == ceil(parse_quantity(text) * 1000)


@pytest.mark.parametrize("text", ["", "a", "1Xi", "1.2.3", "--1", "1e99999"])
def test_what_is_no_quantity_asks_for_nothing(text):
    assert amount(text) == 0


def container(**requests: str) -> dict[str, object]:
    return {"resources": {"requests": requests}}


def test_containers_add_up_and_the_largest_beginning_counts():
    sidecar = {**container(cpu="100m"), "restartPolicy": "Always"}
    spec = {
        "initContainers": [container(cpu="1"), sidecar, container(cpu="2", memory="1Gi")],
        "containers": [container(cpu="500m", memory="256Mi"), container(memory="256Mi")],
        "overhead": {"cpu": "10m"},
    }
    assert dict(needs(spec)) == {"cpu": 2110, "memory": 2**30}


def test_a_limit_without_a_request_is_one():
    assert needs({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "2", "cpu": "0"}}}]}) == (
        ("nvidia.com/gpu", 2),
    )
