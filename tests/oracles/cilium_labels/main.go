// Command cilium-labels-oracle answers, with Cilium's own packages, which labels make a pod's identity.
//
// It reads one JSON case per line on standard input and writes one JSON answer per line on standard
// output. The steps are those of the agent when a pod is new (pkg/endpoint/metadata): GetPodMetadata,
// the label filter, the labels of named ports; `labels` of cilium-config goes through viper as there.
package main

import (
	"bufio"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/cilium/cilium/pkg/k8s"
	slimcore "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/core/v1"
	slimmeta "github.com/cilium/cilium/pkg/k8s/slim/k8s/apis/meta/v1"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/labelsfilter"
	"github.com/cilium/cilium/pkg/option"
	"github.com/spf13/viper"
)

type port struct {
	Name     string `json:"name"`
	Port     int32  `json:"port"`
	Protocol string `json:"protocol"`
}

type testCase struct {
	Filter          string            `json:"filter"`
	Cluster         string            `json:"cluster"`
	Namespace       string            `json:"namespace"`
	NamespaceLabels map[string]string `json:"namespaceLabels"`
	Labels          map[string]string `json:"labels"`
	ServiceAccount  string            `json:"serviceAccount"`
	Containers      [][]port          `json:"containers"`
}

type answer struct {
	Error  string            `json:"error"`
	Labels map[string]string `json:"labels"`
	Words  []string          `json:"words"`
	Ports  []port            `json:"ports"`
}

func run(logger *slog.Logger, c testCase) answer {
	vp := viper.New()
	if err := vp.MergeConfigMap(map[string]any{option.Labels: c.Filter}); err != nil {
		return answer{Error: err.Error()}
	}
	if err := labelsfilter.ParseLabelPrefixCfg(logger, vp.GetStringSlice(option.Labels), nil, ""); err != nil {
		return answer{Error: err.Error()}
	}
	option.Config.ClusterName = c.Cluster
	ns := &slimcore.Namespace{ObjectMeta: slimmeta.ObjectMeta{Name: c.Namespace, Labels: c.NamespaceLabels}}
	pod := &slimcore.Pod{
		ObjectMeta: slimmeta.ObjectMeta{Namespace: c.Namespace, Name: "pod", Labels: c.Labels},
		Spec:       slimcore.PodSpec{ServiceAccountName: c.ServiceAccount},
	}
	for _, ports := range c.Containers {
		container := slimcore.Container{}
		for _, p := range ports {
			container.Ports = append(container.Ports, slimcore.ContainerPort{
				Name: p.Name, ContainerPort: p.Port, Protocol: slimcore.Protocol(p.Protocol),
			})
		}
		pod.Spec.Containers = append(pod.Spec.Containers, container)
	}
	named, found := k8s.GetPodMetadata(logger, ns, pod)
	identity, _ := labelsfilter.Filter(labels.Map2Labels(found, labels.LabelSourceK8s))
	if identity == nil {
		identity = labels.Labels{}
	}
	for _, l := range k8s.NamedPortsIdentityLabels(named) {
		identity[l.Key] = l
	}
	out := answer{Labels: identity.StringMap(), Words: identity.GetModel(), Ports: []port{}}
	slices.Sort(out.Words)
	for _, name := range slices.Sorted(maps.Keys(named)) {
		out.Ports = append(out.Ports, port{Name: name, Port: int32(named[name].Port), Protocol: named[name].Proto.String()})
	}
	return out
}

func main() {
	logger := slog.New(slog.DiscardHandler)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<26)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var c testCase
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			_ = out.Encode(answer{Error: err.Error()})
			continue
		}
		_ = out.Encode(run(logger, c))
	}
}
