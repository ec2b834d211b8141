// Sbom prints a CycloneDX bill of materials of a program: the modules and versions that the Go
// linker wrote into the program.
//
// usage: sbom PROGRAM
package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: sbom PROGRAM VERSION")
	}
	info, err := buildinfo.ReadFile(args[0])
	if err != nil {
		return err
	}
	epoch, err := time.ParseDuration(os.Getenv("SOURCE_DATE_EPOCH") + "s")
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	main := component(debug.Module{Path: filepath.Base(info.Main.Path), Version: args[1]})
	main.Type = cyclonedx.ComponentTypeApplication
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &main, Timestamp: time.Unix(int64(epoch.Seconds()), 0).UTC().Format(time.RFC3339)}
	parts := []cyclonedx.Component{component(debug.Module{Path: "stdlib", Version: info.GoVersion})}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		parts = append(parts, component(*m))
	}
	bom.Components = &parts
	encoder := cyclonedx.NewBOMEncoder(os.Stdout, cyclonedx.BOMFileFormatJSON)
	encoder.SetPretty(true)
	return encoder.Encode(bom)
}

func component(m debug.Module) cyclonedx.Component {
	purl := fmt.Sprintf("pkg:golang/%s@%s", m.Path, m.Version)
	return cyclonedx.Component{Type: cyclonedx.ComponentTypeLibrary, BOMRef: purl, PackageURL: purl, Name: m.Path, Version: m.Version}
}
