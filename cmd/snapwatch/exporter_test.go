package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A path that the server cannot have is refused in words, and ends in no panic.
func TestMetricsPath(t *testing.T) {
	for given, want := range map[string]string{
		"/metrics": "/metrics", "/a/b.c": "/a/b.c", "/metrics/": "/metrics",
		"": "", "metrics": "", "/": "", "/-/healthy": "", "/api/v1/disks": "", "/api": "", "/page/x": "", "/{x}": "", "/a b": "", "/{$}": "",
	} {
		got, err := (&exporterCmd{Path: given}).metricsPath()
		assert.Equal(t, want, got, given)
		assert.Equal(t, want == "", err != nil, given)
	}
}
