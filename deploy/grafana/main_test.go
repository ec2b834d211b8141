package main

import (
	"bytes"
	"os"
	"testing"
)

// The shipped dashboard must be equal to the output of the program in this directory.
func TestTheJSONIsFresh(t *testing.T) {
	want, err := render()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Error(file + " is not what the program writes: go run -C deploy/grafana .")
	}
}
