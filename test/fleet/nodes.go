package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/exporter"
)

// serve starts an exporter for every node, all behind one address, and returns the address.
func (f fleet) serve() (address string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	mux := http.NewServeMux()
	turn := make(chan struct{}, 1) // only one scrape runs at any time, because the simulated zfs reads the node's number from the environment
	for node := range f.nodes {
		handler, err := f.node(node)
		if err != nil {
			return "", err
		}
		mux.HandleFunc(fmt.Sprintf("/node/%d/metrics", node), func(w http.ResponseWriter, r *http.Request) {
			turn <- struct{}{}
			defer func() { <-turn }()
			for name, value := range map[string]string{"FLEET_NODE": fmt.Sprint(node), "FLEET_DISKS": fmt.Sprint(f.disks), "PATH": filepath.Join(f.dir, "bin")} {
				_ = os.Setenv(name, value)
			}
			r.URL.Path = "/metrics"
			handler.ServeHTTP(w, r)
		})
	}
	if err := os.Mkdir(filepath.Join(f.dir, "bin"), 0o755); err != nil {
		return "", err
	}
	if err := os.Symlink(self, filepath.Join(f.dir, "bin", "zfs")); err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }()
	return listener.Addr().String(), nil
}

// node returns the exporter of one simulated node.
func (f fleet) node(node int) (http.Handler, error) {
	dir := filepath.Join(f.dir, poolOf(node))
	kstat := filepath.Join(dir, "kstat")
	pool := filepath.Join(kstat, poolOf(node))
	if err := os.MkdirAll(pool, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(pool, "state"), []byte("ONLINE\n"), 0o644); err != nil {
		return nil, err
	}
	cfg := config.Default()
	if isReplica(node) {
		for of := node - perCluster; of < node; of++ {
			cfg.Sources = append(cfg.Sources, config.Source{Dataset: poolOf(node) + "/" + poolOf(of), Origin: poolOf(of) + "/data", Cluster: cluster(node)})
		}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store := exporter.NewStore(exporter.Settings{
		Config:      cfg,
		Scanner:     scan.Scanner{Kstat: kstat, LockDir: dir, Now: time.Now},
		StateDir:    dir,
		ScanTimeout: time.Minute,
		MaxDataAge:  10 * time.Minute,
		Log:         log,
	})
	return exporter.Server{MetricsPath: "/metrics", OwnMetrics: true, Log: log}.Handler(store), nil
}
