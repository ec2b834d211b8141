package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

const shipped = "../deploy/config.yaml"

// TestShipped checks that the configuration file in the package changes no default. If the comment
// marks of the lines with keys are removed, the file must be a valid configuration that has every
// key with its default.
func TestShipped(t *testing.T) {
	c, err := Load(shipped)
	require.NoError(t, err)
	assert.Equal(t, Default(), c)

	text, err := os.ReadFile(shipped)
	require.NoError(t, err)
	live := regexp.MustCompile(`(?m)^#((?:  )*(?:- )?[a-z_]+:)`).ReplaceAll(text, []byte("$1"))
	c, err = parse(live)
	require.NoError(t, err)
	d := Default()
	assert.Equal(t, d.Limits, c.Limits)
	assert.Equal(t, d.Drill.BootTime, c.Drill.BootTime)
	assert.Equal(t, d.ReplicaLabel, c.ReplicaLabel)
	assert.Equal(t,
		[]any{d.Bookmarks, d.MaxDestroysFor(1), d.StoppedGrace, d.ConfirmStop, d.BootGrace, d.RefreshStopped, d.AdoptPeerLabels},
		[]any{c.Bookmarks, c.MaxDestroysFor(1), c.StoppedGrace, c.ConfirmStop, c.BootGrace, c.RefreshStopped, c.AdoptPeerLabels})
	for _, key := range keysOf(reflect.TypeOf(c), "") {
		name := key[strings.LastIndexAny(key, ".")+1:]
		assert.Regexp(t, `(?m)^[ -]*`+name+`:`, string(live), key)
	}
}

// TestShippedExample checks that the example at the top of the installed file is a valid
// configuration.
func TestShippedExample(t *testing.T) {
	text, err := os.ReadFile(shipped)
	require.NoError(t, err)
	head, _, found := strings.Cut(string(text), "# /usr/share/doc/snapwatch/docs/two-sites.md")
	require.True(t, found)
	var example strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^#   (.*)$`).FindAllStringSubmatch(head, -1) {
		example.WriteString(m[1] + "\n")
	}
	c, err := parse([]byte(example.String()))
	require.NoError(t, err)
	assert.Equal(t, "replica", c.Role)
	assert.Equal(t, []Source{{Dataset: "tank/from-a", Origin: "rpool/data", Cluster: "a"}}, c.Sources)
}

// TestKeysAreDocumented checks that docs/configuration.md has a row for every key, with the
// default.
func TestKeysAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/configuration.md")
	require.NoError(t, err)
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|([^|]*)\\|").FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = strings.Trim(m[2], " `")
	}
	keys := keysOf(reflect.TypeFor[Config](), "")
	for _, key := range keys {
		assert.Contains(t, rows, key)
	}
	assert.Len(t, rows, len(keys), "a row for a key that is not there")
	var defaults map[string]any
	written, err := Default().YAML()
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(written, &defaults))
	for key, row := range rows {
		outer, inner, _ := strings.Cut(key, ".")
		value, ok := defaults[outer]
		if m, nested := value.(map[string]any); nested {
			value, ok = m[inner]
		}
		if list, is := value.([]any); !ok || value == "" || is && len(list) == 0 || value == nil {
			continue
		}
		assert.Equal(t, row, strings.TrimSpace(mustYAML(t, value)), key)
	}
}

func mustYAML(t *testing.T, value any) string {
	t.Helper()
	text, err := yaml.Marshal(value)
	require.NoError(t, err)
	return string(text)
}

// keysOf returns the names of all keys of a Go type of the configuration, such as limits.warning or
// overrides[].keep.
func keysOf(t reflect.Type, prefix string) []string {
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		kind := f.Type
		many := kind.Kind() == reflect.Slice && kind.Elem().Kind() == reflect.Struct && kind != reflect.TypeFor[VMIDs]()
		switch {
		case strings.Contains(options, "inline"):
			keys = append(keys, keysOf(kind, prefix)...)
		case many:
			keys = append(keys, keysOf(kind.Elem(), prefix+name+"[].")...)
		case kind.Kind() == reflect.Struct && kind.PkgPath() == reflect.TypeFor[Config]().PkgPath():
			keys = append(keys, keysOf(kind, prefix+name+".")...)
		default:
			keys = append(keys, prefix+name)
		}
	}
	return keys
}
