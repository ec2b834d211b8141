// The program that writes the Grafana dashboard, apart from what goes into snapwatch.
module snapwatch/deploy/grafana

go 1.26.0

require (
	github.com/google/go-jsonnet v0.20.0
	github.com/grafana/grafana-foundation-sdk/go v0.0.18
	sigs.k8s.io/yaml v1.4.0
)
