"""Small directories in the shape that people publish: charts and their output, kustomizations, dumps, GitOps trees.

`python -m tests.programs.published` prints a table: what was read, how far the translation holds, what the proof of
the files written says, the exit codes of lint, translate, prove and explain, and the seconds and memory that all four
took. It exits 1 where fewer than 15 directories are exact or bound, more than 2 undecided, or one takes too much.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from operations import policy
from tests.unit.netpol.worlds import CLUSTER, cnp, docs, gnp, knp, np, tier

SHOP = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: shop, kubernetes.io/metadata.name: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: kube-system, labels: {kubernetes.io/metadata.name: kube-system}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-7d4b9c-x2x, namespace: shop, labels: {app: web, app.kubernetes.io/name: web}, ownerReferences: [{kind: ReplicaSet}]}
spec: {serviceAccountName: web, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}], tolerations: [{operator: Exists}]}
status: {phase: Running, podIP: 10.0.1.1, podIPs: [{ip: 10.0.1.1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db-0, namespace: shop, labels: {app: db, app.kubernetes.io/name: db}}
spec: {serviceAccountName: db, containers: [{name: c, ports: [{name: sql, containerPort: 5432}]}]}
status: {phase: Running, podIP: 10.0.1.2, podIPs: [{ip: 10.0.1.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: coredns-a, namespace: kube-system, labels: {k8s-app: kube-dns}}
spec: {serviceAccountName: coredns, containers: [{name: c, ports: [{name: dns, containerPort: 53, protocol: UDP}]}]}
status: {phase: Running, podIP: 10.0.2.1, podIPs: [{ip: 10.0.2.1}]}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop, labels: {role: front}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: db, namespace: shop, labels: {role: store}}
"""
ALLOW_DB = knp(
    "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{protocol: TCP, port: 5432}]}]}",
    "allow-db", "shop",
)  # fmt: skip
DENY_ALL = knp("{podSelector: {}, policyTypes: [Ingress, Egress]}", "default-deny", "shop")
DNS = knp(
    "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}], ports: [{protocol: UDP, port: 53}]}]}",
    "allow-dns", "shop",
)  # fmt: skip
DEPLOYMENT = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 2, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, args: ['--format={{.Name}}']}]}}}\n"
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: shop}\nspec: {selector: {app: db}, clusterIP: 172.20.0.10, ports: [{name: sql, port: 5432, targetPort: sql}]}\n"
CALICO_WEB = np(
    "{tier: default, order: 100, selector: app == 'db', types: [Ingress], ingress: [{action: Allow, protocol: TCP, source: {selector: app == 'web'}, destination: {ports: [5432]}}]}",
    "db", "shop",
)  # fmt: skip
CALICO_DENY = gnp(
    "{order: 2000, namespaceSelector: team == 'shop', types: [Ingress], ingress: [{action: Deny}]}", "deny-shop"
)


def crd(text: str) -> str:
    return text.replace("projectcalico.org/v3", "crd.projectcalico.org/v1")


def as_list(kind: str, *texts: str, api: str = "v1") -> str:
    items = ["- " + t.strip().replace("\n", "\n  ") for text in texts for t in text.split("\n---\n")]
    return f"apiVersion: {api}\nkind: {kind}\nmetadata: {{resourceVersion: ''}}\nitems:\n" + "\n".join(items) + "\n"


FLOW = ("--from", "shop/web-7d4b9c-x2x", "--to", "shop/db-0", "--port", "5432")


@dataclass(frozen=True)
class Directory:
    """Files, arguments besides the directory, and the exit code of each command (None: see to it that it is no crash).

    Of `translate`, 2: it holds for what the files hold, and is written where they are said to be the whole cluster.
    """

    files: dict[str, str]
    lint: int | None
    translate: int | None
    explain: int | None = 0
    arguments: tuple[str, ...] = ()
    flow: tuple[str, ...] = FLOW
    said: tuple[str, ...] = field(default=())
    """What has to stand in the output of `lint`."""


DIRECTORIES: dict[str, Directory] = {
    "helm output": Directory(
        {"all.yaml": "---\n# Source: shop/templates/sa.yaml\n" + docs(SHOP, f"# Source: shop/templates/np.yaml\n{ALLOW_DB}", "# Source: shop/templates/empty.yaml\n", DEPLOYMENT, SERVICE)},
        0, 0, said=("Deployment (apps/v1)",),
    ),
    "helm chart": Directory(
        {"Chart.yaml": "apiVersion: v2\nname: shop\nversion: 0.1.0\n", "values.yaml": "networkPolicy: {enabled: true}\n",
         "templates/np.yaml": "{{- if .Values.networkPolicy.enabled }}\n" + ALLOW_DB + "{{- end }}\n",
         "templates/dep.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  {{- include \"x\" . | nindent 2 }}\n", "templates/NOTES.txt": "{{ x }}"},
        64, 64, 64, said=("helm template NAME",),
    ),
    "kustomize output": Directory(
        {"built.yaml": docs(SHOP, ALLOW_DB.replace("metadata: {", "metadata: {annotations: {config.kubernetes.io/origin: 'path: ../base/np.yaml'}, "), DENY_ALL, DNS)}, 0, 0, 1,
    ),
    "kustomize tree": Directory(
        {"base/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [np.yaml, pods.yaml]\n", "base/np.yaml": ALLOW_DB, "base/pods.yaml": SHOP,
         "overlays/prod/kustomization.yaml": "resources: [../../base]\npatches:\n- path: patch.yaml\n- target: {kind: NetworkPolicy}\n  patch: |-\n    - {op: remove, path: /spec/egress}\n",
         "overlays/prod/patch.yaml": "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: allow-db}\nspec: {policyTypes: [Ingress]}\n"},
        0, 0, said=("kubectl kustomize",),
    ),
    "a dump of everything": Directory(
        {"dump.yaml": as_list("List", SHOP, ALLOW_DB.replace("metadata: {", "metadata: {uid: x, generation: 1, creationTimestamp: '2026-01-01T00:00:00Z', managedFields: [{manager: kubectl}], "), DEPLOYMENT, SERVICE, "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\ndata: {}")},
        0, 0, said=("Secret (v1)",),
    ),
    "raw API answers": Directory(
        {"np.json": json.dumps({"kind": "NetworkPolicyList", "apiVersion": "networking.k8s.io/v1", "metadata": {}, "items": [{"metadata": {"name": "allow-db", "namespace": "shop"}, "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"]}, "status": {}}]}), "pods.yaml": SHOP},
        0, 0, 1,
    ),
    "flux": Directory(
        {"clusters/prod/flux-system/gotk-sync.yaml": "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: flux-system, namespace: flux-system}\nspec: {}\n---\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\nspec: {path: ./apps}\n",
         "apps/release.yaml": "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: x, namespace: shop}\nspec: {values: {networkPolicy: {enabled: true}}}\n", "apps/np.yaml": docs(ALLOW_DB, DENY_ALL), "apps/pods.yaml": SHOP, "README.md": "# x"},
        0, 0, 1, said=("HelmRelease", "GitRepository"),
    ),
    "flux with substitutions": Directory({"np.yaml": ALLOW_DB.replace("namespace: shop", "namespace: '${NAMESPACE}'"), "pods.yaml": SHOP}, 1, 1, 1, said=("${NAMESPACE}", "envsubst")),
    "argo": Directory(
        {".github/workflows/ci.yaml": "on: [push]\njobs: {}\n", "apps/app.yaml": "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a, namespace: argocd}\nspec: {}\n", "policies/a.yml": docs(SHOP, CALICO_WEB, CALICO_DENY)},
        0, 2, said=("hidden directory", "Application"),
    ),
    "calico with tiers": Directory(
        {"tiers.yaml": docs(tier("security", 100, "Pass"), tier("platform", 200, "Pass")), "sets.yaml": "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: bad, labels: {threat: feed}}\nspec: {nets: [203.0.113.0/24]}\n",
         "gnp.yaml": docs(gnp("{tier: security, order: 1, selector: all(), types: [Egress], egress: [{action: Deny, destination: {selector: threat == 'feed'}}, {action: Pass}]}", "security.feeds"), CALICO_WEB, CALICO_DENY),
         "config.yaml": "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: default}\nspec: {cidr: 10.0.0.0/16}\n---\napiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\nspec: {}\n---\napiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: p}\nspec: {}\n", "pods.yaml": SHOP},
        1, 2, said=("IPPool", "BGPPeer"),
    ),
    "a calico dump in both groups": Directory({"v3.yaml": as_list("List", CALICO_WEB, CALICO_DENY), "v1.yaml": as_list("List", crd(CALICO_WEB), crd(CALICO_DENY)), "pods.yaml": SHOP}, 0, 2, said=("the same is given as",)),
    "a v3 dump with copies": Directory(
        {"dump.yaml": as_list("NetworkPolicyList", np("{order: 1000, tier: default, selector: projectcalico.org/orchestrator == 'k8s', types: [Ingress, Egress]}", "knp.default.default-deny", "shop"), CALICO_WEB, api="projectcalico.org/v3"), "np.yaml": DENY_ALL, "pods.yaml": SHOP},
        0, 2, 1, said=("Calico's copy",),
    ),
    "service accounts": Directory({"all.yaml": docs(SHOP, gnp("{order: 1, serviceAccountSelector: role == 'store', types: [Ingress], ingress: [{action: Allow, source: {serviceAccounts: {names: [web]}, namespaceSelector: team == 'shop'}}]}"))}, 0, 2),
    "staged": Directory({"all.yaml": docs(SHOP, CALICO_WEB, CALICO_DENY.replace("kind: Global", "kind: StagedGlobal"))}, 1, 2, said=("staged",)),
    "host endpoints": Directory(
        {"all.yaml": docs(SHOP, "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: n1, labels: {host: n1}}\nspec: {node: n1, interfaceName: eth0, expectedIPs: [10.9.0.1]}\n", gnp("{selector: has(host), preDNAT: true, applyOnForward: true, ingress: [{action: Deny, protocol: TCP, destination: {ports: ['30000:32767']}}]}", "node-ports"))},
        1, None, None, said=("host-endpoint", "hosts-only"),
    ),
    "cilium": Directory(
        {"all.yaml": docs(SHOP, cnp("{endpointSelector: {matchLabels: {app: db}}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}], toPorts: [{ports: [{port: '5432', protocol: TCP}]}]}]}", "db", "shop"), "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g}\nspec: {externalCIDRs: [203.0.113.0/24]}\n", "apiVersion: cilium.io/v2alpha1\nkind: CiliumL2AnnouncementPolicy\nmetadata: {name: x}\nspec: {}\n", "apiVersion: cilium.io/v2\nkind: CiliumLocalRedirectPolicy\nmetadata: {name: x, namespace: shop}\nspec: {}\n")},
        0, 1, arguments=("--engine", "cilium"), said=("redirects flows",),
    ),
    "anchors and merges": Directory(
        {"all.yaml": docs(SHOP, "apiVersion: v1\nkind: List\nitems:\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata: &m {namespace: shop, name: a}\n  spec: &s {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata: {name: b, <<: {namespace: shop}}\n  spec: &s {podSelector: , policyTypes: [Egress], egress: [{}]}\n- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata: {<<: *m, name: c}\n  spec: *s\n")},
        1, 0, 1,
    ),
    "extensions/v1beta1": Directory({"np.yaml": ALLOW_DB.replace("networking.k8s.io/v1", "extensions/v1beta1"), "pods.yaml": SHOP}, 1, 1, 1, said=("Write apiVersion: networking.k8s.io/v1",)),
    "no namespaces": Directory({"np.yaml": docs(ALLOW_DB, DENY_ALL).replace(", namespace: shop", ""), "pods.yaml": SHOP}, 0, 0, 1, arguments=("--namespace", "shop")),
    "no namespaces, not said": Directory({"np.yaml": docs(ALLOW_DB, DENY_ALL).replace(", namespace: shop", ""), "pods.yaml": SHOP}, 1, 1, 1, said=("--namespace",)),
    "ansible": Directory({"roles/net/templates/np.yaml": "{% for ns in namespaces %}\n---\n" + ALLOW_DB.replace("shop", "{{ ns }}") + "{% endfor %}\n", "pods.yaml": SHOP}, 64, 64, 64, said=("Render it first",)),
    "jsonnet output": Directory({f"{i}.json": json.dumps(o) for i, o in enumerate([{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "d", "namespace": "shop"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}, {"dashboards": [1, 2]}, [1, 2]])} | {"pods.yaml": SHOP}, 0, 0, 1, said=("no object of Kubernetes",)),
    "terraform": Directory({".terraform/modules/x/np.yaml": "{", "main.tf": "resource {", "k8s/np.yaml": docs(SHOP, DENY_ALL)}, 0, 0, 1, said=("hidden directory",)),
    "faults": Directory({"a.yaml": gnp("{ordr: 1, types: [Up]}"), "b/b.yaml": knp("{podSelector: {}, ingress: [{ports: [{port: 0}]}]}"), "c.yaml": np("{selector: a =}", "c"), "pods.yaml": SHOP}, 1, 1, 1, said=("spec.ordr", "spec.types[0]", "ports[0].port", "spec.selector")),
    "two clusters": Directory({"prod/np.yaml": DENY_ALL, "staging/np.yaml": DENY_ALL, "pods.yaml": SHOP}, 1, 1, 1, said=("given twice", "one cluster only")),
    "long port names and dual stack": Directory({"all.yaml": docs(SHOP.replace("podIPs: [{ip: 10.0.1.1}]", "podIPs: [{ip: 10.0.1.1}, {ip: 'fd00::1'}]"), gnp("{order: 1, selector: app == 'db', ingress: [{action: Allow, protocol: TCP, destination: {ports: [a-name-that-is-longer, sql]}}]}"))}, 0, None, 0, flow=(*FLOW[:2], "--to", "shop/db-0", "--port", "5432")),
    "policies only": Directory({"all.yaml": docs(ALLOW_DB, DENY_ALL, DNS, CALICO_WEB, CALICO_DENY)}, 0, 2, 64),
    "another cluster's tests": Directory({"cluster.yaml": CLUSTER, "np.yaml": docs(knp("{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {}}]}]}"))}, 0, 0, flow=("--from", "red/web", "--to", "red/db", "--port", "80")),
    "nothing but code": Directory({"main.py": "print()", "docs/a.md": "#"}, 64, 64, 64, said=("holds no objects",)),
    "a repository of everything": Directory(
        {"helmfile.yaml": "releases:\n- name: x\n  chart: y/z\n", "fleet.yaml": "defaultNamespace: shop\n", "mkdocs.yml": "extensions:\n- x: !!python/name:a.b\n", "infra/cf.yaml": "Resources: {V: {Cidr: !Ref X}}\n", "web/tsconfig.json": "{\n  // comment\n  \"a\": 1,\n}\n",
         "Taskfile.yml": "tasks: {build: {cmds: ['echo {{.A}}']}}\n", ".gitlab-ci.yml": "stages: [a]\n", "secrets/db.enc.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {password: 'ENC[AES256_GCM,data:x,type:str]'}\nsops: {mac: 'ENC[x]', version: 3.9.0}\n",
         "apps/set.yaml": "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: a, namespace: argocd}\nspec: {template: {metadata: {name: '{{cluster}}-shop'}}}\n", "deploy/np.yaml": docs(ALLOW_DB, DENY_ALL), "deploy/pods.yaml": SHOP},
        0, 0, 1, said=("says no kind, and cannot be read", "what it brings is not seen here"),
    ),
    "policies of other makers": Directory(
        {"kyverno.yaml": "apiVersion: kyverno.io/v1\nkind: ClusterPolicy\nmetadata: {name: deny}\nspec: {rules: [{generate: {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, name: deny, namespace: '{{request.object.metadata.name}}'}}]}\n",
         "work.yaml": "apiVersion: work.open-cluster-management.io/v1\nkind: ManifestWork\nmetadata: {name: w, namespace: c}\nspec: {workload: {manifests: [{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: g}, spec: {types: [Ingress]}}]}}\n",
         "aws.yaml": "apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\nmetadata: {name: a, namespace: shop}\nspec: {podSelector: {}}\n", "np.yaml": docs(ALLOW_DB, SHOP)},
        0, 0, said=("NetworkPolicy at spec.rules[0].generate is not read", "GlobalNetworkPolicy at spec.workload.manifests[0]", "what else enforces it is not modelled"),
    ),
    "a template of OpenShift": Directory(
        {"t.yaml": "apiVersion: template.openshift.io/v1\nkind: Template\nmetadata: {name: t}\nparameters: [{name: NAMESPACE}]\nobjects:\n- " + DENY_ALL.replace("namespace: shop", "namespace: '${NAMESPACE}'").strip().replace("\n", "\n  ") + "\n", "pods.yaml": SHOP},
        1, 1, 1, said=("oc process -f",),
    ),
    "pointers of Git LFS": Directory({"np.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "pods.yaml": SHOP}, 64, 64, 64, said=("git lfs pull",)),
    "a page of a list": Directory({"np.json": json.dumps({"kind": "NetworkPolicyList", "apiVersion": "networking.k8s.io/v1", "metadata": {"continue": "abc", "remainingItemCount": 40}, "items": []}), "pods.yaml": SHOP}, 1, 1, 1, said=("40 more items",)),
    "a calicoctl export": Directory(
        {"gnp.yaml": as_list("GlobalNetworkPolicyList", gnp("{order: 100, selector: app == 'db', tier: default, types: [Ingress], ingress: [{action: Allow, protocol: TCP, source: {selector: app == 'web'}, destination: {ports: [5432]}}, {action: Deny, source: {}, destination: {}}]}", "default.deny-app").replace("metadata: {", "metadata: {uid: u, resourceVersion: '12', creationTimestamp: '2026-01-01T00:00:00Z', "), api="projectcalico.org/v3"),
         "profiles.yaml": as_list("ProfileList", "apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: kns.shop}\nspec: {egress: [{action: Allow, source: {}, destination: {}}], ingress: [{action: Allow, source: {}, destination: {}}], labelsToApply: {pcns.projectcalico.org/name: shop}}\n", api="projectcalico.org/v3"),
         "pools.yaml": "apiVersion: projectcalico.org/v3\nkind: IPPoolList\nitems:\n- {apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: default-ipv4-ippool}, spec: {cidr: 10.0.0.0/16}}\n", "wep.yaml": "apiVersion: projectcalico.org/v3\nkind: WorkloadEndpointList\nitems: []\n", "pods.yaml": SHOP},
        0, 2, said=("IPPool",),
    ),
    "zero trust in tiers": Directory(
        {"tiers.yaml": docs(tier("security", 300), tier("platform", 400), tier("application", 500)), "set.yaml": "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: feed, labels: {threat: feed}}\nspec: {nets: [" + ", ".join(f"203.0.{i}.0/24" for i in range(200)) + "]}\n",
         "security.yaml": gnp("{tier: security, order: 0, selector: \"projectcalico.org/namespace != 'kube-system'\", types: [Ingress, Egress], ingress: [{action: Deny, source: {selector: quarantine == 'true'}}, {action: Pass}], egress: [{action: Deny, destination: {selector: threat == 'feed'}}, {action: Pass}]}", "security.block"),
         "platform.yaml": gnp("{tier: platform, order: 100, namespaceSelector: all(), types: [Egress], egress: [{action: Allow, protocol: UDP, destination: {selector: k8s-app == 'kube-dns', ports: [53]}}, {action: Pass}]}", "platform.dns"),
         "app.yaml": docs(np("{tier: application, order: 1, selector: app == 'db', types: [Ingress], ingress: [{action: Allow, protocol: TCP, source: {selector: app == 'web'}, destination: {ports: [5432]}}]}", "application.db", "shop"), np("{tier: application, order: 2, selector: app == 'web', types: [Egress], egress: [{action: Allow, protocol: TCP, destination: {selector: app == 'db', ports: [5432]}}]}", "application.web", "shop")), "pods.yaml": SHOP},
        None, 2, 2,
    ),
    "default deny for all namespaces": Directory({"all.yaml": docs(SHOP, gnp("{order: 2000, namespaceSelector: \"kubernetes.io/metadata.name not in {'kube-system', 'calico-system'}\", types: [Ingress, Egress], egress: [{action: Allow, protocol: UDP, destination: {selector: k8s-app == 'kube-dns', ports: [53]}}]}", "default-deny"), ALLOW_DB)}, 0, None, 1),
    "recipes": Directory(
        {f"{i:02}.yaml": knp(spec, name, "").replace(", namespace: ", "") for i, (name, spec) in enumerate({"web-deny-all": "{podSelector: {matchLabels: {app: web}}, ingress: []}", "api-allow": "{podSelector: {matchLabels: {app: bookstore, role: api}}, ingress: [{from: [{podSelector: {matchLabels: {app: bookstore}}}]}]}", "web-allow-prod": "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {purpose: production}}}]}]}", "web-allow-external": "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}], from: []}]}", "foo-deny-egress": "{podSelector: {matchLabels: {app: foo}}, policyTypes: [Egress], egress: [{ports: [{port: 53, protocol: UDP}, {port: 53}], to: [{namespaceSelector: {}}]}]}"}.items())},
        0, 0, 64, arguments=("--namespace", "default"),
    ),
    "nulls of a chart": Directory({"np.yaml": docs(SHOP, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: chart\n  namespace: shop\n  labels:\n  annotations:\nspec:\n  podSelector:\n    matchLabels:\n    matchExpressions: []\n  policyTypes: [Ingress, Egress]\n  ingress:\n  - from:\n    ports:\n    - port: 5432\n      protocol:\n  egress:\n  -\n")}, 0, 0),
    "lines of Windows, with a byte order mark": Directory({"np.yaml": "\ufeff" + docs(SHOP, ALLOW_DB, DENY_ALL).replace("\n", "\r\n")}, 0, 0, 1),
    "named ports of a sidecar": Directory(
        {"all.yaml": docs(SHOP.replace("containers: [{name: c, ports: [{name: sql", "initContainers: [{name: proxy, restartPolicy: Always, ports: [{name: metrics, containerPort: 9187}]}], containers: [{name: c, ports: [{name: sql"), knp("{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: metrics}, {port: sql}]}]}", "scrape", "shop"))},
        0, 1, said=(),
    ),
    "policies of both engines": Directory(
        {"calico/db.yaml": CALICO_WEB, "cilium/db.yaml": cnp("{endpointSelector: {matchLabels: {app: db}}, ingressDeny: [{fromEndpoints: [{matchLabels: {app: web}}]}]}", "db", "shop"), "pods.yaml": SHOP}, 1, 1,
    ),
    "a dump of many policies": Directory(
        {"np.json": json.dumps({"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": f"p{i}", "namespace": f"team-{i % 20}"}, "spec": {"podSelector": {"matchLabels": {"app": f"a{i % 40}"}}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": f"team-{i * 7 % 20}"}}}], "ports": [{"port": 8000 + i % 50}]}]}} for i in range(120)]}),
         "pods.json": json.dumps({"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": f"x{i}", "namespace": f"team-{i % 20}", "labels": {"app": f"a{i % 40}"}}, "spec": {"containers": []}, "status": {"podIP": f"10.0.{i // 200}.{i % 200 + 1}"}} for i in range(100)]}),
         "ns.yaml": docs(*(f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: team-{i}}}\n" for i in range(20)), SHOP)},
        None, None,
    ),
}  # fmt: skip


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def against(out: Path) -> tuple[str, ...]:
    """What to compare with: the translation, or nothing, where nothing had to be written."""
    return ("--after", str(out)) if out.is_dir() and any(out.iterdir()) else ("--after-nothing",)


MOST_SECONDS, MOST_MIB = 60, 2048
"""What every command on a directory may take, all of them together."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the commands said of one directory."""

    name: str
    codes: tuple[int, ...]
    grade: str
    verdict: str
    manifests: int
    skipped: int
    faults: int
    seconds: float
    mib: int

    @property
    def undecided(self) -> bool:
        return not self.faults and self.grade != "refused" and self.verdict == "undecided"

    @property
    def holds(self) -> bool:
        """Whether it was translated, and proved again from the files written."""
        return self.grade in {"exact", "bound"} and self.verdict == "equal"

    def __str__(self) -> str:
        read = f"{self.faults} faults" if self.faults else f"{self.skipped} passed over"
        made = f"{self.grade}, {self.manifests} written" if self.holds else self.grade or "-"
        codes = " ".join(map(str, self.codes))
        spent = f"{self.seconds:.1f} | {self.mib}"
        return f"| {self.name} | {read} | {made} | {self.verdict or '-'} | {codes} | {spent} |"


def row(name: str, top: Path) -> Row:
    """Every command on one directory, as somebody would give them who has all of a cluster in there."""
    one = DIRECTORIES[name]
    root, out = write(top / "in", one.files), top / "out"
    engine = [a for a in one.arguments if a in {"--engine", "cilium"}]
    rest = [a for a in one.arguments if a not in engine]
    started = time.monotonic()
    answers, codes = [], []
    for command in (
        ["lint", str(root), *rest],
        ["translate", str(root), *rest, "--whole", "--out", str(out)],
        ["prove", str(root), *rest, "--whole"],
        ["explain", str(root), *rest, "--whole", *engine, *one.flow],
    ):
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(io.StringIO()):
            codes.append(policy.main(command + (list(against(out)) if command[0] == "prove" else [])))
        answers.append(json.loads(told.getvalue().splitlines()[-1]))
    return Row(
        name=name,
        codes=tuple(codes),
        grade=answers[1].get("grade", ""),
        verdict=answers[2].get("verdict", ""),
        manifests=len(answers[1].get("manifests", ())),
        skipped=len(answers[0]["skipped"]),
        faults=len(answers[0].get("errors", ())),
        seconds=time.monotonic() - started,
        mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


def rows() -> Iterator[Row]:
    """One row for each directory, made in a process of its own."""
    for name in DIRECTORIES:
        with tempfile.TemporaryDirectory() as top, ProcessPoolExecutor(1, get_context("fork")) as pool:
            yield pool.submit(row, name, Path(top)).result()


def missed(found: Sequence[Row]) -> list[str]:
    """What the rows should keep to and do not."""
    out = [
        f"{r.name}: {r.seconds:.1f} s and {r.mib} MiB" for r in found if r.seconds > MOST_SECONDS or r.mib > MOST_MIB
    ]
    if sum(r.holds for r in found) < 15:
        out.append("fewer than 15 are exact or bound")
    if sum(r.undecided for r in found) > 2:
        out.append("more than 2 are undecided")
    return out


def main() -> int:
    """The table of them all."""
    print("| directory | read | translation | proof | codes | seconds | MiB |\n|---|---|---|---|---|---|---|")
    found = []
    for one in rows():
        found.append(one)
        print(one, flush=True)
    count = Counter(r.grade or ("faults" if r.faults else "unreadable") for r in found)
    print(json.dumps({"directories": len(found), **count, "undecided": sum(r.undecided for r in found)}))
    for line in missed(found):
        print(line, file=sys.stderr)
    return 1 if missed(found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
