package zfs

import (
	"context"
	"regexp"
	"strings"

	"snapwatch/internal/command"
)

var versionNumber = regexp.MustCompile(`-(\d+\.\d+[\w.]*)`)

// Versions returns the version of zfs(8) and the version of the kernel module, such as 2.3.2. If
// the command zfs version does not print a version, Versions returns "" for this version.
func Versions(ctx context.Context) (userland, kernel string, err error) {
	text, err := command.Output(ctx, command.Cmd{Argv: []string{"zfs", "version"}})
	userland, kernel = parseVersions(text)
	return userland, kernel, err
}

func parseVersions(text string) (userland, kernel string) {
	for line := range strings.Lines(text) {
		m := versionNumber.FindStringSubmatch(line)
		switch {
		case m == nil:
		case strings.HasPrefix(line, "zfs-kmod-"):
			kernel = m[1]
		case strings.HasPrefix(line, "zfs-"):
			userland = m[1]
		}
	}
	return userland, kernel
}
