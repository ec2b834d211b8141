// The module compares the thresholds of check with another implementation. It is a separate module,
// so that its dependencies do not become dependencies of snapwatch.
module snapwatch/test/ranges

go 1.26.0

require (
	github.com/atc0005/go-nagios v0.19.0
	github.com/stretchr/testify v1.12.1
	pgregory.net/rapid v1.3.0
	snapwatch v0.0.0
)

require (
	github.com/google/renameio/v2 v2.0.2 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)

replace snapwatch => ../..
