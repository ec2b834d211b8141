// Package deploy holds what is shipped for init and monitoring systems, so that tests
// can use it as it is shipped.
package deploy

import "embed"

// Files are the files, by their path below deploy.
//
//go:embed alertmanager nagios nrpe prometheus pve systemd
var Files embed.FS
