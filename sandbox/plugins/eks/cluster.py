"""`eks:index:Cluster`: a control plane with roles, security groups, add-ons and access entries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as k8s
import yaml

from sandbox.plugins.eks.arguments import ArgumentError, checked, need_aws_cli, with_access_entries, with_config_map
from sandbox.plugins.eks.kubeconfig import kubeconfig, reachable
from sandbox.plugins.eks.vpc_cni import VpcCniAddon, stringified

Children = pulumi.ResourceOptions
THUMBPRINT = "9e99a48a9960b14926bb7f3b02e22da2b0ab7280"
"""Fingerprint of the root above AWS's OIDC endpoints; upstream asks the endpoint over TLS, which is not here."""


class ServiceRole(pulumi.ComponentResource):
    """A role for an AWS service, with managed policies."""

    def __init__(
        self, name: str, *, service: str, policies: list[str], description: str, tags: Any, opts: Children
    ) -> None:
        super().__init__("eks:index:ServiceRole", name, None, opts)
        child = Children(parent=self)
        actions = ["sts:AssumeRole", "sts:TagSession"]
        trust = {"Action": actions, "Effect": "Allow", "Principal": {"Service": [service]}}
        self.role = aws.iam.Role(
            f"{name}-role",
            description=description,
            assume_role_policy=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
            tags=tags,
            opts=child,
        )
        self.attachments = [
            aws.iam.RolePolicyAttachment(
                f"{name}-{hashlib.sha1(arn.encode(), usedforsecurity=False).hexdigest()[:8]}",
                policy_arn=arn,
                role=self.role.name,
                opts=child,
            )
            for arn in policies
        ]
        self.register_outputs({"directRole": self.role, "resolvedRole": self.role})


class Cluster(pulumi.ComponentResource):
    """The component; `state` are its outputs by upstream's names."""

    def __init__(self, name: str, inputs: Mapping[str, Any], opts: Children) -> None:
        args = checked(name, inputs)
        need_aws_cli()
        if (opts.providers or opts.provider) and "providerCredentialOpts" not in args:
            raise ArgumentError(
                "It looks like you're using an explicit AWS provider. Please specify this provider in "
                "providerCredentialOpts."
            )
        super().__init__("eks:index:Cluster", name, dict(inputs), opts)
        self._name, self._args, self._child = name, args, Children(parent=self)
        mode = args.get("authenticationMode")
        vpc_id, subnet_ids = self._network()
        service_role = None if "serviceRole" in args else self._service_role()
        role = service_role.role if service_role else args["serviceRole"]
        group = self._cluster_group(vpc_id)
        eks_cluster = self._control_plane(service_role, role, group, subnet_ids)
        self._kube_proxy(eks_cluster)
        credentials = args.get("providerCredentialOpts")
        endpoint = reachable(eks_cluster.endpoint) if args.get("endpointPublicAccess") else eks_cluster.endpoint
        config = kubeconfig(eks_cluster, endpoint, credentials, profile=False)
        provider = k8s.Provider(
            f"{name}-eks-k8s",
            kubeconfig=kubeconfig(eks_cluster, endpoint, credentials, profile=True).apply(json.dumps),
            enable_config_map_mutable=args.get("enableConfigMapMutable"),
            opts=self._child,
        )
        roles = args.get("instanceRoles") or ([args["instanceRole"]] if "instanceRole" in args else [])
        access = self._node_access(roles, provider) if with_config_map(mode) else None
        entries = self._access_entries(eks_cluster) if with_access_entries(mode) else []
        after: list[pulumi.Resource] = [*entries, *([access] if access else [])]
        cni = None
        if not args.get("useDefaultVpcCni"):  # upstream's sense: true means that nobody here manages the CNI
            cni = VpcCniAddon(
                f"{name}-vpc-cni",
                args.get("vpcCniOptions") or {},
                cluster=eks_cluster,
                tags=args.get("tags"),
                opts=Children(parent=self, depends_on=after, providers={"kubernetes": provider}),
            )
        self._coredns(eks_cluster)
        oidc = self._oidc(eks_cluster) if args.get("createOidcProvider") else None
        node_group, ingress = self._node_group_rules(vpc_id, group, eks_cluster) if group else (None, None)
        issuer = eks_cluster.identities.apply(_issuer)
        managed = eks_cluster.vpc_config.apply(lambda vpc: vpc.cluster_security_group_id)
        core = {
            "accessEntries": list((args.get("accessEntries") or {}).values()),
            "autoModeNodeRoleName": "",
            "cluster": eks_cluster,
            "clusterIamRole": role,
            "clusterSecurityGroup": group,
            "eksNodeAccess": access,
            "endpoint": endpoint,
            "instanceRoles": roles,
            "kubeconfig": config,
            "nodeGroupOptions": {"nodeSecurityGroup": node_group, "clusterIngressRule": ingress},
            "nodeSecurityGroupTags": args.get("nodeSecurityGroupTags"),
            "oidcProvider": oidc,
            "privateSubnetIds": args.get("privateSubnetIds"),
            "provider": provider,
            "publicSubnetIds": args.get("publicSubnetIds"),
            "storageClasses": {},
            "subnetIds": subnet_ids,
            "tags": args.get("tags"),
            "vpcCni": cni,
            "vpcId": vpc_id,
        }
        state = {
            "autoModeNodeRoleName": "",
            "clusterIngressRuleId": ingress.security_group_rule_id if ingress else "",
            "clusterSecurityGroup": group,
            "clusterSecurityGroupId": group.id if group else managed,
            "core": {key: value for key, value in core.items() if value is not None},
            "defaultNodeGroupAsgName": "",
            "eksCluster": eks_cluster,
            "eksClusterIngressRule": ingress,
            "fargateProfileId": "",
            "fargateProfileStatus": "",
            "instanceRoles": roles,
            "kubeconfig": config,
            "kubeconfigJson": config.apply(json.dumps),
            "nodeSecurityGroup": node_group,
            "nodeSecurityGroupId": node_group.id if node_group else managed,
            "oidcIssuer": issuer.apply(lambda url: url.removeprefix("https://")),
            "oidcProviderArn": oidc.arn if oidc else "",
            "oidcProviderUrl": issuer,
        }
        self.state = {key: value for key, value in state.items() if value is not None}
        self.register_outputs(self.state)

    def _network(self) -> tuple[Any, Any]:
        args = self._args
        subnets: Any
        if "vpcId" in args:
            vpc_id, subnets = args["vpcId"], []
        else:
            invoke = pulumi.InvokeOutputOptions(parent=self)
            vpc_id = aws.ec2.get_vpc_output(default=True, opts=invoke).apply(lambda vpc: vpc.id)
            filters = [{"name": "vpc-id", "values": [vpc_id]}]
            subnets = aws.ec2.get_subnets_output(filters=filters, opts=invoke).apply(lambda found: found.ids)
        if "subnetIds" in args:
            return vpc_id, args["subnetIds"]
        if "publicSubnetIds" in args or "privateSubnetIds" in args:
            both = pulumi.Output.all(args.get("publicSubnetIds") or [], args.get("privateSubnetIds") or [])
            return vpc_id, both.apply(lambda lists: [*lists[0], *lists[1]])
        return vpc_id, subnets

    def _service_role(self) -> ServiceRole:
        return ServiceRole(
            f"{self._name}-eksRole",
            service="eks.amazonaws.com",
            policies=["arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"],
            description="Allows EKS to manage clusters on your behalf.",
            tags=self._args.get("tags"),
            opts=self._child,
        )

    def _tags(self, kind: str, more: Any = None) -> pulumi.Output[dict[str, str]]:
        start = {"Name": f"{self._name}-{kind}"}
        both = pulumi.Output.all(more or {}, self._args.get("tags") or {})
        return both.apply(lambda given: start | dict(given[0]) | dict(given[1]))

    def _cluster_group(self, vpc_id: Any) -> Any:
        if "clusterSecurityGroup" in self._args:
            return self._args["clusterSecurityGroup"]
        if self._args.get("skipDefaultSecurityGroups"):
            return None
        group = aws.ec2.SecurityGroup(
            f"{self._name}-eksClusterSecurityGroup",
            vpc_id=vpc_id,
            revoke_rules_on_delete=True,
            tags=self._tags("eksClusterSecurityGroup", self._args.get("clusterSecurityGroupTags")),
            opts=self._child,
        )
        self._rule(
            "eksClusterInternetEgressRule", "Allow internet access.", group.id, "egress", cidr_blocks=["0.0.0.0/0"]
        )
        return group

    def _control_plane(self, service_role: ServiceRole | None, role: Any, group: Any, subnet_ids: Any) -> Any:
        args = self._args
        key = args.get("encryptionConfigKeyArn")
        mode = args.get("authenticationMode")
        network = None
        if args.get("kubernetesServiceIpAddressRange") or args.get("ipFamily"):
            family = args.get("ipFamily") or "ipv4"
            range_ = args.get("kubernetesServiceIpAddressRange") if family == "ipv4" else None
            network = aws.eks.ClusterKubernetesNetworkConfigArgs(ip_family=family, service_ipv4_cidr=range_)
        return aws.eks.Cluster(
            f"{self._name}-eksCluster",
            name=args.get("name"),
            role_arn=pulumi.Output.from_input(role).apply(lambda r: r.arn),
            kubernetes_network_config=network,
            bootstrap_self_managed_addons=args.get("bootstrapSelfManagedAddons", True),
            vpc_config=aws.eks.ClusterVpcConfigArgs(
                security_group_ids=[group.id] if group else None,
                subnet_ids=subnet_ids,
                endpoint_private_access=args.get("endpointPrivateAccess"),
                endpoint_public_access=args.get("endpointPublicAccess"),
                public_access_cidrs=args.get("publicAccessCidrs"),
            ),
            version=args.get("version"),
            enabled_cluster_log_types=args.get("enabledClusterLogTypes"),
            tags=self._tags("eksCluster", args.get("clusterTags")),
            encryption_config=key
            and aws.eks.ClusterEncryptionConfigArgs(
                provider=aws.eks.ClusterEncryptionConfigProviderArgs(key_arn=key), resources=["secrets"]
            ),
            access_config=mode
            and aws.eks.ClusterAccessConfigArgs(
                authentication_mode=mode, bootstrap_cluster_creator_admin_permissions=True
            ),
            upgrade_policy=args.get("upgradePolicy"),
            deletion_protection=args.get("deletionProtection"),
            opts=Children(
                parent=self,
                ignore_changes=["accessConfig.bootstrapClusterCreatorAdminPermissions", "bootstrapSelfManagedAddons"],
                depends_on=service_role.attachments if service_role else None,
            ),
        )

    def _addon(self, cluster: Any, addon: str, options: Mapping[str, Any]) -> None:
        values = options.get("configurationValues")
        version = options.get("version") or aws.eks.get_addon_version_output(
            addon_name=addon,
            kubernetes_version=cluster.version,
            most_recent=True,
            opts=pulumi.InvokeOutputOptions(parent=self),
        ).apply(lambda found: found.version)
        aws.eks.Addon(
            f"{self._name}-{addon}",
            cluster_name=cluster.name,
            addon_name=addon,
            preserve=True,
            tags=self._args.get("tags"),
            addon_version=version,
            resolve_conflicts_on_create=options.get("resolveConflictsOnCreate") or "OVERWRITE",
            resolve_conflicts_on_update=options.get("resolveConflictsOnUpdate") or "OVERWRITE",
            configuration_values=pulumi.Output.from_input(values).apply(stringified) if values else None,
            opts=self._child,
        )

    def _kube_proxy(self, cluster: Any) -> None:
        options = self._args.get("kubeProxyAddonOptions") or {}
        if options.get("enabled", True) is not False:
            self._addon(cluster, "kube-proxy", options)

    def _coredns(self, cluster: Any) -> None:
        """Without default nodes only when somebody asks for it."""
        options = self._args.get("corednsAddonOptions") or {}
        if options.get("enabled") or options.get("configurationValues"):
            self._addon(cluster, "coredns", options)

    def _node_access(self, roles: list[Any], provider: k8s.Provider) -> k8s.core.v1.ConfigMap:
        groups = ["system:bootstrappers", "system:nodes"]
        arns = [pulumi.Output.from_input(role).apply(lambda r: r.arn) for role in roles]

        def data(found: list[Any]) -> dict[str, str]:
            mappings, users, instance_arns = found
            username = "system:node:{{EC2PrivateDNSName}}"
            nodes = [{"roleArn": arn, "username": username, "groups": groups} for arn in instance_arns]
            result = {"mapRoles": yaml.safe_dump([_mapping(item, "rolearn") for item in [*mappings, *nodes]])}
            if users:
                result["mapUsers"] = yaml.safe_dump([_mapping(item, "userarn") for item in users])
            return result

        everything = pulumi.Output.all(self._args.get("roleMappings") or [], self._args.get("userMappings") or [], arns)
        return k8s.core.v1.ConfigMap(
            f"{self._name}-nodeAccess",
            immutable=False,
            metadata={
                "name": "aws-auth",
                "namespace": "kube-system",
                "annotations": {"pulumi.com/patchForce": "true"},
            },
            data=everything.apply(data),
            opts=Children(parent=self, provider=provider),
        )

    def _access_entries(self, cluster: Any) -> list[pulumi.Resource]:
        wanted = dict(self._args.get("accessEntries") or {})
        if "instanceRole" in self._args:
            arn = pulumi.Output.from_input(self._args["instanceRole"]).apply(lambda role: role.arn)
            wanted = {"defaultNodeGroupInstanceRole": {"principalArn": arn, "type": "EC2_LINUX"}} | wanted
        entries: list[pulumi.Resource] = []
        for key, given in wanted.items():
            entry = aws.eks.AccessEntry(
                f"{self._name}-{key}",
                cluster_name=cluster.name,
                principal_arn=given["principalArn"],
                kubernetes_groups=given.get("kubernetesGroups"),
                tags=given.get("tags"),
                type=given.get("type"),
                user_name=given.get("username"),
                opts=Children(parent=self, depends_on=[cluster]),
            )
            entries.append(entry)
            for label, policy in (given.get("accessPolicies") or {}).items():
                aws.eks.AccessPolicyAssociation(
                    f"{self._name}-{key}-{label}",
                    cluster_name=cluster.name,
                    principal_arn=given["principalArn"],
                    policy_arn=policy["policyArn"],
                    access_scope=policy["accessScope"],
                    opts=Children(parent=entry, depends_on=[entry]),
                )
        return entries

    def _oidc(self, cluster: Any) -> Any:
        return aws.iam.OpenIdConnectProvider(
            f"{self._name}-oidcProvider",
            client_id_lists=["sts.amazonaws.com"],
            url=cluster.identities.apply(_issuer),
            thumbprint_lists=[THUMBPRINT],
            opts=self._child,
        )

    def _node_group_rules(self, vpc_id: Any, group: Any, cluster: Any) -> tuple[Any, Any]:
        """The security group that self-managed nodes would use, made whether there are any or not."""
        if self._args.get("skipDefaultSecurityGroups"):
            return None, None
        tags = pulumi.Output.all(self._tags("nodeSecurityGroup", self._args.get("nodeSecurityGroupTags")), cluster.name)
        nodes = aws.ec2.SecurityGroup(
            f"{self._name}-nodeSecurityGroup",
            vpc_id=vpc_id,
            revoke_rules_on_delete=True,
            tags=tags.apply(lambda given: {f"kubernetes.io/cluster/{given[1]}": "owned"} | given[0]),
            opts=self._child,
        )
        plane = {"source_security_group_id": group.id, "protocol": "tcp"}
        self._rule("eksNodeIngressRule", "Allow nodes to communicate with each other", nodes.id, "ingress", itself=True)
        self._rule(
            "eksNodeClusterIngressRule",
            "Allow worker Kubelets and pods to receive communication from the cluster control plane",
            nodes.id,
            "ingress",
            from_port=1025,
            to_port=65535,
            **plane,
        )
        self._rule(
            "eksExtApiServerClusterIngressRule",
            "Allow pods running extension API servers on port 443 to receive communication from cluster control plane",
            nodes.id,
            "ingress",
            from_port=443,
            to_port=443,
            **plane,
        )
        self._rule("eksNodeInternetEgressRule", "Allow internet access.", nodes.id, "egress", cidr_blocks=["0.0.0.0/0"])
        ingress = self._rule(
            "eksClusterIngressRule",
            "Allow pods to communicate with the cluster API Server",
            group.id,
            "ingress",
            from_port=443,
            to_port=443,
            protocol="tcp",
            source_security_group_id=nodes.id,
        )
        return nodes, ingress

    def _rule(self, name: str, description: str, group: Any, type_: str, *, itself: bool = False, **rule: Any) -> Any:
        everything = {"from_port": 0, "to_port": 0, "protocol": "-1"}
        return aws.ec2.SecurityGroupRule(
            f"{self._name}-{name}",
            description=description,
            security_group_id=group,
            type=type_,
            opts=self._child,
            **{**everything, **rule, **({"self": True} if itself else {})},
        )


def _issuer(identities: Any) -> str:
    return str(identities[0].oidcs[0].issuer) if identities and identities[0].oidcs else ""


def _mapping(item: Mapping[str, Any], key: str) -> dict[str, Any]:
    arn = item.get("roleArn") or item.get("userArn")
    return {key: arn, "username": item.get("username"), "groups": item.get("groups")}
