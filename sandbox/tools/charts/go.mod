module eks-cilium/sandbox/tools/charts

go 1.25.0

require (
	github.com/cilium/cilium v1.20.2
	github.com/tigera/operator v1.42.4
)
