package page

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQueriesSurviveTheirLink(t *testing.T) {
	for _, q := range []query{
		{Sort: "worst", Page: 1},
		{State: "OK", Verdict: "fresh", Pool: "a b", Text: `"><&é`, Sort: "age", Guest: 100, Disk: "tank/vm-1-disk-0", Page: 3},
	} {
		u, err := url.Parse(q.link())
		require.NoError(t, err)
		assert.Equal(t, q, parseQuery(u.Query()))
	}
	long := parseQuery(url.Values{"q": {strings.Repeat("é", 500)}})
	assert.LessOrEqual(t, len(long.Text), longestText)
}
