// Command cilium-oracle answers, with Cilium's own policy engine, whether flows are allowed.
//
// It reads one JSON case per line on standard input and writes one JSON answer per line on standard
// output. Identities are made by Cilium's own packages: pod labels by pkg/k8s/utils and
// pkg/labelsfilter, addresses by pkg/labels (CIDR labels of the longest prefix that any policy or
// CIDR group mentions, merged with the wider ones as pkg/ipcache does).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"strings"
	"sync"

	"github.com/cilium/cilium/pkg/endpoint/regeneration"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/identitymanager"
	ipcachetypes "github.com/cilium/cilium/pkg/ipcache/types"
	"github.com/cilium/cilium/pkg/k8s"
	ciliumv2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	slimcore "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/core/v1"
	slimnet "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/networking/v1"
	slimmeta "github.com/cilium/cilium/pkg/k8s/slim/k8s/apis/meta/v1"
	k8sutils "github.com/cilium/cilium/pkg/k8s/utils"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/labelsfilter"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
	policytypes "github.com/cilium/cilium/pkg/policy/types"
	policyutils "github.com/cilium/cilium/pkg/policy/utils"
	ciliumtypes "github.com/cilium/cilium/pkg/types"
	"github.com/cilium/cilium/pkg/u8proto"
	kcnp "sigs.k8s.io/network-policy-api/apis/v1alpha2"
)

const clusterName = "default"

type config struct {
	IPv4           bool     `json:"ipv4"`
	IPv6           bool     `json:"ipv6"`
	CIDRMatchMode  []string `json:"cidrMatchMode"`
	HostFirewall   bool     `json:"hostFirewall"`
	Enforcement    string   `json:"enforcement"`
	AllowLocalhost string   `json:"allowLocalhost"`
	Labels         []string `json:"labels"`
}

type port struct {
	Name     string `json:"name"`
	Port     uint16 `json:"port"`
	Protocol string `json:"protocol"`
}

// endpoint is a pod (namespace set), an address, or a node seen from the policy's subject.
type endpoint struct {
	Namespace       string            `json:"namespace"`
	NamespaceLabels map[string]string `json:"namespaceLabels"`
	Labels          map[string]string `json:"labels"`
	ServiceAccount  string            `json:"serviceAccount"`
	Ports           []port            `json:"ports"`
	IP              string            `json:"ip"`
	Reserved        string            `json:"reserved"`
	IPs             []string          `json:"ips"`
	APIServer       bool              `json:"apiserver"`
}

type flow struct {
	From  int   `json:"from"`
	To    int   `json:"to"`
	Proto uint8 `json:"proto"`
	Port  int   `json:"port"`
}

type testCase struct {
	Config    config            `json:"config"`
	Policies  []json.RawMessage `json:"policies"`
	Endpoints []endpoint        `json:"endpoints"`
	Flows     []flow            `json:"flows"`
}

type verdict struct {
	Egress  *bool `json:"egress"`
	Ingress *bool `json:"ingress"`
}

type answer struct {
	Verdicts []verdict `json:"verdicts"`
	Errors   []string  `json:"errors"`
}

// owner is the local endpoint of one policy computation.
type owner struct {
	id    uint64
	ports map[string]port
}

func (o *owner) GetID() uint64 { return o.id }
func (o *owner) GetIngressNamedPort(name string, proto u8proto.U8proto) uint16 {
	if p, ok := o.ports[name]; ok && strings.EqualFold(p.Protocol, proto.String()) {
		return p.Port
	}
	return 0
}
func (o *owner) PolicyDebug(string, ...any)                  {}
func (o *owner) IsHost() bool                                { return false }
func (o *owner) PreviousMapStateSizes() policy.MapStateSizes { return policy.MapStateSizes{} }
func (o *owner) RegenerateIfAlive(*regeneration.ExternalRegenerationMetadata) <-chan bool {
	done := make(chan bool)
	close(done)
	return done
}

type namedPorts struct{ m ciliumtypes.NamedPortMultiMap }

func (n namedPorts) GetNamedPorts() ciliumtypes.NamedPortMultiMap { return n.m }

// prefixes maps every prefix that the agent would hold in its ipcache to its labels.
type prefixes map[netip.Prefix]labels.Labels

func (p prefixes) add(prefix netip.Prefix, lbls labels.Labels) {
	prefix = prefix.Masked()
	if p[prefix] == nil {
		p[prefix] = labels.Labels{}
	}
	maps.Copy(p[prefix], lbls)
}

// resolve returns the identity labels of an address: those of the longest prefix, then of each wider one,
// of which only a single CIDR label survives (pkg/ipcache/metadata.go, mergeLabels).
func (p prefixes) resolve(addr netip.Addr) labels.Labels {
	lbls := labels.Labels{}
	hasCIDR := false
	for bits := addr.BitLen(); bits >= 0; bits-- {
		prefix, _ := addr.Prefix(bits)
		for k, v := range p[prefix] {
			if v.Source == labels.LabelSourceCIDR && hasCIDR {
				continue
			}
			if _, ok := lbls[k]; !ok {
				lbls[k] = v
				hasCIDR = hasCIDR || v.Source == labels.LabelSourceCIDR
			}
		}
	}
	lbls.AddWorldLabel(addr)
	return lbls
}

// node returns what an address of a node inherits where CIDR policies may match nodes (resolveLabels): the label of its
// own prefix, and those of CIDR groups around it, but never that it belongs to the world.
func (p prefixes) node(addr netip.Addr) labels.Labels {
	lbls := labels.NewFrom(labels.GetCIDRLabels(netip.PrefixFrom(addr, addr.BitLen())))
	for bits := addr.BitLen(); bits >= 0; bits-- {
		prefix, _ := addr.Prefix(bits)
		for k, v := range p[prefix] {
			if v.Source == labels.LabelSourceCIDRGroup {
				lbls[k] = v
			}
		}
	}
	lbls.Remove(labels.LabelWorld)
	lbls.Remove(labels.LabelWorldIPv4)
	lbls.Remove(labels.LabelWorldIPv6)
	return lbls
}

func parse(logger *slog.Logger, raw json.RawMessage, known prefixes) (policytypes.PolicyEntries, error) {
	var kind struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return nil, err
	}
	switch kind.Kind {
	case "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy":
		cnp := ciliumv2.CiliumNetworkPolicy{}
		if err := json.Unmarshal(raw, &cnp); err != nil {
			return nil, err
		}
		rules, err := cnp.Parse(logger, clusterName)
		if err != nil {
			return nil, err
		}
		return policyutils.RulesToPolicyEntries(rules), nil
	case "NetworkPolicy":
		np := slimnet.NetworkPolicy{}
		if err := json.Unmarshal(raw, &np); err != nil {
			return nil, err
		}
		return k8s.ParseNetworkPolicy(logger, clusterName, &np)
	case "ClusterNetworkPolicy":
		np := kcnp.ClusterNetworkPolicy{}
		if err := json.Unmarshal(raw, &np); err != nil {
			return nil, err
		}
		return k8s.ParseClusterNetworkPolicy(logger, clusterName, &np)
	case "CiliumCIDRGroup":
		group := ciliumv2.CiliumCIDRGroup{}
		if err := json.Unmarshal(raw, &group); err != nil {
			return nil, err
		}
		lbls := labels.Labels{}
		for k, v := range k8sutils.RemoveCiliumLabels(group.Labels) {
			l := labels.NewLabel(k, v, labels.LabelSourceCIDRGroup)
			lbls[l.Key] = l
			encoded := labels.EncodedCIDRGroupLabel(l.Key, l.Value, l.Source)
			lbls[encoded.Key] = encoded
		}
		ref := api.LabelForCIDRGroupRef(group.Name)
		lbls[ref.Key] = ref
		for _, c := range group.Spec.ExternalCIDRs {
			prefix, err := netip.ParsePrefix(string(c))
			if err != nil {
				return nil, err
			}
			known.add(prefix, lbls)
		}
		return nil, nil
	}
	return nil, fmt.Errorf("unknown kind %q", kind.Kind)
}

func resourceOf(raw json.RawMessage) ipcachetypes.ResourceID {
	var object struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(raw, &object) // parsed before
	return ipcachetypes.NewResourceID(ipcachetypes.ResourceKind(strings.ToLower(object.Kind)), object.Metadata.Namespace, object.Metadata.Name)
}

func podLabels(e endpoint) (labels.Labels, map[string]port) {
	ns := &slimcore.Namespace{ObjectMeta: slimmeta.ObjectMeta{Name: e.Namespace, Labels: e.NamespaceLabels}}
	sanitized := k8sutils.SanitizePodLabels(e.Labels, ns, e.ServiceAccount, clusterName)
	lbls, _ := labelsfilter.Filter(labels.Map2Labels(sanitized, labels.LabelSourceK8s))
	ports := map[string]port{}
	npm := ciliumtypes.NamedPortMap{}
	for _, p := range e.Ports {
		ports[strings.ToLower(p.Name)] = p
		_ = npm.AddPort(p.Name, int(p.Port), p.Protocol)
	}
	for _, l := range k8s.NamedPortsIdentityLabels(npm) {
		lbls[l.Key] = l
	}
	return lbls, ports
}

func run(logger *slog.Logger, c testCase) (out answer) {
	option.Config.EnableIPv4, option.Config.EnableIPv6 = c.Config.IPv4, c.Config.IPv6
	option.Config.PolicyCIDRMatchMode = c.Config.CIDRMatchMode
	option.Config.EnableHostFirewall = c.Config.HostFirewall
	option.Config.UnsafeDaemonConfigOption.AllowLocalhost = c.Config.AllowLocalhost
	policy.SetPolicyEnabled(c.Config.Enforcement)
	if err := labelsfilter.ParseLabelPrefixCfg(logger, c.Config.Labels, nil, ""); err != nil {
		out.Errors = append(out.Errors, err.Error())
		return out
	}

	known := prefixes{}
	parsed := make([]policytypes.PolicyEntries, len(c.Policies))
	for i, raw := range c.Policies {
		entries, err := parse(logger, raw, known)
		if err != nil {
			out.Errors = append(out.Errors, fmt.Sprintf("policy %d: %v", i, err))
			continue
		}
		for _, entry := range entries {
			for _, selector := range entry.L3 {
				for _, prefix := range selector.GetCIDRPrefixes() {
					known.add(prefix, labels.GetCIDRLabels(prefix))
				}
			}
		}
		parsed[i] = entries
	}
	if len(out.Errors) > 0 {
		return out
	}

	ids := identity.IdentityMap{}
	all := make([]*identity.Identity, len(c.Endpoints))
	ports := make([]map[string]port, len(c.Endpoints))
	npm := ciliumtypes.NewNamedPortMultiMap()
	for i, e := range c.Endpoints {
		var nid identity.NumericIdentity
		var lbls labels.Labels
		switch {
		case e.Namespace != "":
			nid = identity.NumericIdentity(1000 + i)
			lbls, ports[i] = podLabels(e)
			named := ciliumtypes.NamedPortMap{}
			for _, p := range e.Ports {
				_ = named.AddPort(p.Name, int(p.Port), p.Protocol)
			}
			npm.Update(nid, nil, named)
		case e.IP != "":
			addr, err := netip.ParseAddr(e.IP)
			if err != nil {
				out.Errors = append(out.Errors, err.Error())
				return out
			}
			nid = identity.IdentityScopeLocal + identity.NumericIdentity(1+i)
			lbls = known.resolve(addr)
			if e.APIServer {
				maps.Copy(lbls, labels.LabelKubeAPIServer)
			}
		default:
			nid = identity.GetReservedID(e.Reserved)
			lbls = labels.Labels{e.Reserved: labels.NewLabel(e.Reserved, "", labels.LabelSourceReserved)}
			if option.Config.PolicyCIDRMatchesNodes() {
				if nid == identity.ReservedIdentityRemoteNode {
					nid = identity.IdentityScopeRemoteNode + identity.NumericIdentity(1+i)
				}
				// Of the own node the labels of every address are put together (updateReservedHostLabels).
				for _, text := range e.IPs {
					addr, err := netip.ParseAddr(text)
					if err != nil {
						out.Errors = append(out.Errors, err.Error())
						return out
					}
					own := known.node(addr)
					maps.Copy(lbls, own)
				}
			}
		}
		all[i] = identity.NewIdentity(nid, lbls)
		ids[nid] = all[i].LabelArray
	}
	repo := policy.NewPolicyRepository(logger, ids, nil, nil, identitymanager.NewIDManager(logger), nil)
	repo.SetNamedPortsGetter(namedPorts{npm})
	repo.UpdateIdentities(ids, nil)
	for i, entries := range parsed {
		if len(entries) > 0 {
			// The engine looks rules up by the namespace in their resource's name.
			repo.ReplaceByResource(entries, resourceOf(c.Policies[i]))
		}
	}
	var wg sync.WaitGroup
	repo.GetSelectorCache().UpdateIdentities(ids, nil, &wg)
	wg.Wait()

	policies := map[int]*policy.EndpointPolicy{}
	compute := func(i int) (*policy.EndpointPolicy, error) {
		if epp, ok := policies[i]; ok {
			return epp, nil
		}
		selected, _, err := repo.ComputeSelectorPolicy(all[i])
		if err != nil {
			return nil, err
		}
		epp := selected.DistillPolicy(logger, &owner{id: uint64(i), ports: ports[i]}, map[string]uint16{})
		epp.Ready()
		epp.Detach(logger)
		selected.Supersede()
		policies[i] = epp
		return epp, nil
	}
	look := func(subject, peer int, key policy.Key, f flow) *bool {
		if c.Endpoints[subject].Namespace == "" {
			return nil
		}
		epp, err := compute(subject)
		if err != nil {
			out.Errors = append(out.Errors, err.Error())
			return nil
		}
		entry, _, _ := epp.Lookup(key.WithIdentity(all[peer].ID).WithPortProtoPrefix(u8proto.U8proto(f.Proto), uint16(f.Port), 16))
		allowed := !entry.IsDeny()
		return &allowed
	}
	for _, f := range c.Flows {
		out.Verdicts = append(out.Verdicts, verdict{
			Egress:  look(f.From, f.To, policy.EgressKey(), f),
			Ingress: look(f.To, f.From, policy.IngressKey(), f),
		})
	}
	return out
}

func main() {
	logger := slog.New(slog.DiscardHandler)
	option.Config.EnableICMPRules = true
	option.Config.EnableL7Proxy = true
	option.Config.EnableNonDefaultDenyPolicies = true
	api.InitEntities(clusterName)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<28)
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	for in.Scan() {
		var c testCase
		result := answer{}
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			result.Errors = []string{err.Error()}
		} else {
			result = run(logger, c)
		}
		if err := encoder.Encode(result); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		out.Flush()
	}
}
