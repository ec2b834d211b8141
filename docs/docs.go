// Package docs lets tests compare pages with what they find.
package docs

import _ "embed"

// ZFSVersions is the page about what differs between versions of OpenZFS.
//
//go:embed zfs-versions.md
var ZFSVersions string
