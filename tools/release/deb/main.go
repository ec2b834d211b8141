// Deb builds the Debian package from deploy/deb/nfpm.yaml. Deb is nfpm without the parts for other
// package formats.
//
// usage: deb -version V -arch amd64|arm64 -binary FILE -out DIR
//
// Two builds of one commit produce the same bytes: all times in the package are the time in
// SOURCE_DATE_EPOCH.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
)

func main() {
	version := flag.String("version", "", "the package's version, Debian's spelling")
	arch := flag.String("arch", "", "Go's word for the architecture")
	binary := flag.String("binary", "", "the program")
	stage := flag.String("stage", "", "the directory of generated files")
	out := flag.String("out", ".", "the directory to put the package in")
	flag.Parse()
	vars := map[string]string{"VERSION": *version, "ARCH": *arch, "BINARY": *binary, "STAGE": *stage}
	if err := build(vars, *out); err != nil {
		fmt.Fprintln(os.Stderr, "deb:", err)
		os.Exit(1)
	}
}

// build makes the package from the files that the configuration names, below the working directory.
func build(vars map[string]string, out string) (err error) {
	if os.Getenv("SOURCE_DATE_EPOCH") == "" {
		return errors.New("SOURCE_DATE_EPOCH is not set: the package would differ at every build")
	}
	for name, value := range vars {
		if value == "" {
			return fmt.Errorf("%s is not given", name)
		}
	}
	config, err := nfpm.ParseFileWithEnvMapping("deploy/deb/nfpm.yaml", func(name string) string {
		return cmp.Or(vars[name], os.Getenv(name))
	})
	if err != nil {
		return err
	}
	info, err := config.Get("deb")
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	path := filepath.Join(out, deb.Default.ConventionalFileName(info))
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := deb.Default.Package(info, file); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	fmt.Println(path)
	return nil
}
