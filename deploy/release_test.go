package deploy_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A release needs a maintainer with a name and an address; without one the build stops before it
// makes anything.
func TestAReleaseNamesItsMaintainer(t *testing.T) {
	for _, maintainer := range []string{"", "Ada Lovelace", "ada@example.org", " <@>"} {
		release := exec.Command("../tools/make-release", "v1.2.3")
		release.Env = append(release.Environ(), "HOMEPAGE=https://example.org/snapwatch", "MAINTAINER="+maintainer)
		out, err := release.CombinedOutput()
		assert.Error(t, err, maintainer)
		assert.Contains(t, string(out), "MAINTAINER", maintainer)
	}
}
