// The program that writes the Grafana dashboard, apart from what goes into snapwatch.
module snapwatch/deploy/grafana

go 1.26.0

require github.com/grafana/grafana-foundation-sdk/go v0.0.18
