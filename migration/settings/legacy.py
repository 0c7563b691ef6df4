"""The section `legacy`: what an owned cluster runs before the migration."""

from pydantic import Field

from migration.rules import versions
from migration.settings.addon import Addon
from migration.settings.model import Chart, Model
from migration.settings.nodes import NodeGroup


class Calico(Model):
    """Calico on an owned cluster, by the Tigera operator, enforcing policy only."""

    version: str = versions.CALICO_DEFAULT
    chart: Chart = Chart(name="tigera-operator", repository="https://docs.tigera.io/calico/charts")
    crds_chart: Chart = Chart(name="crd.projectcalico.org.v1", repository="https://docs.tigera.io/calico/charts")


class Legacy(Model):
    """What an owned cluster runs before the migration."""

    groups: tuple[NodeGroup, ...] = Field(min_length=1)
    vpc_cni: Addon = Addon()
    kube_proxy: Addon = Addon()
    calico: Calico = Calico()
