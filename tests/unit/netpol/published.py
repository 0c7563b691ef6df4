"""Small directories in the shape that people publish: charts and their output, kustomizations, dumps, GitOps trees.

`python -m tests.unit.netpol.published` prints a table of what each command says about each of them.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from dataclasses import dataclass, field
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
        1, 2, said=("IPPool", "BGPPeer", "Calico's defaults are assumed"),
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
        0, 0, arguments=("--engine", "cilium"), said=("redirects flows",),
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
}  # fmt: skip


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def against(out: Path) -> tuple[str, ...]:
    """What to compare with: the translation, or nothing, where nothing had to be written."""
    return ("--after", str(out)) if out.is_dir() and any(out.iterdir()) else ("--after-nothing",)


def main() -> None:
    """Each command on each directory, and what the translation comes to."""
    print("| directory | lint | translate | prove | explain | left out |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as top:
        for number, (name, one) in enumerate(DIRECTORIES.items()):
            root = write(Path(top) / str(number), one.files)
            out = Path(top) / f"{number}.out"
            engine = [a for a in one.arguments if a in {"--engine", "cilium"}]
            rest = [a for a in one.arguments if a not in engine]
            cells = []
            for command in (
                ["lint", str(root), *rest],
                ["translate", str(root), *rest, "--out", str(out)],
                ["prove", str(root), *rest, *against(out)],
                ["explain", str(root), *rest, *engine, *one.flow],
            ):
                told = io.StringIO()
                with contextlib.redirect_stdout(told), contextlib.redirect_stderr(io.StringIO()):
                    code = policy.main(command)
                answer = json.loads(told.getvalue().splitlines()[-1])
                faults = len(answer.get("errors", ()))
                cells.append(f"{code}{f' ({faults} faults)' if faults else ''}")
            cells.append(str(len(answer["skipped"])))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
