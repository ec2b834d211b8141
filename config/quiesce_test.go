package config

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQuiesced(t *testing.T) {
	for text, want := range map[string]string{
		"quiesce: [{vmid: 101, how: agent}, {vmid: '102-104,110', how: cgroup}]":                      "",
		"groups: [{name: shop, vmid: '101,102', quiesce: agent}, {name: b-2.x, vmid: 103}]":           "",
		"{quiesce: [{vmid: 102, how: cgroup}], groups: [{name: a, vmid: '101,102', quiesce: agent}]}": "",
		"max_freeze: 1m":                        "",
		"max_freeze: 1ms":                       "",
		"max_freeze: 0s":                        "max_freeze: 0s; write more than 0s",
		"max_freeze: 1m1s":                      "max_freeze: 1m1s; write more than 0s and no more than 1m",
		"quiesce: agent":                        "this must be a list",
		"quiesce: [{vmid: 101, how: fsfreeze}]": `"fsfreeze" is not a way to freeze a guest`,
		"quiesce: [{vmid: 101, how: ''}]":       `"" is not a way to freeze a guest`,
		"quiesce: [{vmid: 101}]":                "quiesce, entry 1: how is missing",
		"quiesce: [{how: agent}]":               "quiesce, entry 1: selects no guest",
		"quiesce: [{vmid: 100-105, how: agent}, {vmid: '99,103', how: cgroup}]": "quiesce, entry 2: guest 103 has an entry already",
		"quiesce: [{vmid: 101, who: agent}]":                                    "unknown key",
		"groups: [{vmid: 101}]":                                                 `groups, entry 1: "" is not a name for a group`,
		"groups: [{name: a b, vmid: 101}]":                                      `"a b" is not a name for a group`,
		"groups: [{name: a}]":                                                   "group a has no guests",
		"groups: [{name: a, vmid: [101, 102]}]":                                 "write this in one line of text, not as a list",
		"groups: [{name: a, vmids: [101, 102]}]":                                "line 1: vmids is called vmid now, as in 100,102-104",
		"groups: [{name: a, vmid: 0}]":                                          `"0" is neither a VMID nor a range`,
		"groups: [{name: a, vmid: 1000000000}]":                                 "is neither a VMID nor a range",
		"groups: [{name: a, vmid: '101,101'}]":                                  "group a: guest 101 is listed twice",
		"groups: [{name: a, vmid: 101}, {name: a, vmid: 102}]":                  "groups, entry 2: group a is listed twice",
		"groups: [{name: a, vmid: 101}, {name: b, vmid: 101}]":                  "group b: guest 101 is in group a already",
		"groups: [{name: a, vmid: 101, quiesce: freeze}]":                       `"freeze" is not a way`,
		"groups: [{name: a, vmid: 100-102}, {name: b, vmid: 90-100}]":           "group b: guest 100 is in group a already",
	} {
		_, err := parse([]byte(text + "\n"))
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		assert.ErrorContains(t, err, want, text)
	}
}

func TestHowFor(t *testing.T) {
	c, err := parse([]byte(`
quiesce: [{vmid: 102, how: cgroup}, {vmid: 200-201, how: agent}]
groups: [{name: a, vmid: '101,102', quiesce: agent}, {name: b, vmid: 103}]
`))
	require.NoError(t, err)
	for vmid, want := range map[int]string{101: "agent group a", 102: "cgroup quiesce[0] (vmid 102)", 103: " ", 200: "agent quiesce[1] (vmid 200-201)", 202: " "} {
		how, rule := c.HowFor(vmid)
		assert.Equal(t, want, string(how)+" "+rule, vmid)
	}
	b, ok := c.GroupOf(103)
	assert.Equal(t, "b", b.Name)
	assert.True(t, ok)
	_, ok = c.GroupOf(200)
	assert.False(t, ok)
}
