package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every file in testdata whose name begins with invalid- contains one mistake. The first line of
// each of these files is the expected error message.
func TestInvalid(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid-*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		want, rest, _ := strings.Cut(string(text), "\n")
		want = strings.TrimPrefix(want, "# ")
		require.NotEmpty(t, rest, file)
		_, err = Load(file)
		if assert.Error(t, err, file) {
			assert.Equal(t, "config "+file+": "+want, strings.ReplaceAll(err.Error(), "\n ", ""), file)
		}
	}
}

// example.yaml sets every key. No value in example.yaml is the default of its key.
func TestExample(t *testing.T) {
	c, err := Load("testdata/example.yaml")
	require.NoError(t, err)
	differs(t, "config", reflect.ValueOf(c), reflect.ValueOf(Default()))
	assert.Equal(t, "f48 h24 d30 w8 m12 y3", c.Keep.String())
	assert.Equal(t, 48*time.Hour, c.StoppedGrace.Std())
	assert.Equal(t, "f4 d7", c.Overrides[0].Keep.String())
	assert.True(t, c.Overrides[1].Ignore)
	assert.Equal(t, "vmid 100-199,250", c.Overrides[0].Selector.String())
	assert.Equal(t, "vmid 300", c.Overrides[1].Selector.String(), "a number without quotes")
}

// differs fails the test for every field of a that is zero, or that has the same value in b.
func differs(t *testing.T, name string, a, b reflect.Value) {
	t.Helper()
	if a.Kind() == reflect.Struct && a.Type().PkgPath() != "time" {
		for i := range a.NumField() {
			differs(t, name+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
		return
	}
	assert.False(t, a.IsZero(), "%s is not set", name)
	assert.False(t, reflect.DeepEqual(a.Interface(), b.Interface()), "%s is as by default", name)
}

func TestEmptyFiles(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "{}\n", "keep:\n"} {
		c, err := parse([]byte(text))
		require.NoError(t, err, "%q", text)
		assert.Equal(t, Default(), c, "%q", text)
	}
	assert.Nil(t, Default().Keep)
}

// A short time for drills needs a shorter time for boots only if a program starts guests.
func TestShortMaxDrill(t *testing.T) {
	c, err := parse([]byte("limits:\n  max_drill: 5m\n"))
	require.NoError(t, err)
	require.NoError(t, c.validate())
	c.Drill.Boot = []string{"/usr/sbin/start"}
	assert.ErrorContains(t, c.validate(), "less than limits.max_drill (5m)")
}

func TestDefaults(t *testing.T) {
	c := Default()
	require.NoError(t, c.validate())
	assert.Equal(t, 30, c.Bookmarks)
	assert.Equal(t, 24*time.Hour, c.StoppedGrace.Std())
	assert.Equal(t, 20*time.Second, c.ConfirmStop.Std())
	assert.Equal(t, 5*time.Minute, c.BootGrace.Std())
	assert.Equal(t, 1000, c.MaxDestroysFor(50))
	assert.Equal(t, 1020, c.MaxDestroysFor(51), "twenty a disk")
	c.MaxDestroys = new(int)
	*c.MaxDestroys = 7
	assert.Equal(t, 7, c.MaxDestroysFor(1000), "a number in the file is obeyed")
	assert.Zero(t, c.RefreshStopped)
	assert.False(t, c.AdoptPeerLabels)
	assert.Equal(t, 2*time.Hour, c.Limits.Warning.Std())
	assert.Equal(t, 6*time.Hour, c.Limits.Critical.Std())
	assert.Equal(t, 30*24*time.Hour, c.Limits.MaxStoppedAge.Std())
	assert.Equal(t, 7*24*time.Hour, c.Limits.MaxInitialReceive.Std())
	assert.Equal(t, 45*24*time.Hour, c.Limits.MaxScrubAge.Std())
	assert.Equal(t, "80% 90%", c.Limits.FillWarning.String()+" "+c.Limits.FillCritical.String())
	assert.Equal(t, time.Hour, c.Limits.MaxDrill.Std())
	assert.Zero(t, c.Limits.MaxProofAge, "no proof is demanded")
	assert.Empty(t, c.Drill.Boot)
	assert.Equal(t, 5*time.Minute, c.Drill.BootTime.Std())
}

func TestLimitsOfPoolsCanBeSwitchedOff(t *testing.T) {
	c, err := parse([]byte("limits: {max_scrub_age: 0s, fill_critical: 0%}\n"))
	require.NoError(t, err)
	assert.Zero(t, c.Limits.MaxScrubAge)
	assert.Zero(t, c.Limits.FillCritical)
	assert.Equal(t, "80%", c.Limits.FillWarning.String())
}

func TestLoadDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	c, err := LoadDefault(path)
	require.NoError(t, err)
	assert.Equal(t, Default(), c)
	_, err = Load(path)
	assert.ErrorContains(t, err, "config: open "+path)
	require.NoError(t, os.WriteFile(path, []byte("bookmarks: 3\n"), 0o600))
	c, err = LoadDefault(path)
	require.NoError(t, err)
	assert.Equal(t, 3, c.Bookmarks)
	require.NoError(t, os.WriteFile(path, []byte("bookmark: 3\n"), 0o600))
	_, err = LoadDefault(path)
	assert.ErrorContains(t, err, `line 1: unknown key "bookmark"; did you mean "bookmarks"?`)
	_, err = LoadDefault(filepath.Dir(path))
	assert.ErrorContains(t, err, "is a directory")
	link := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.Symlink("/nonexistent/config.yaml", link))
	_, err = LoadDefault(link)
	assert.ErrorContains(t, err, "no such file", "somebody meant it to be there")
}

// If the vmid or disk of an override is empty, because a tool wrote the configuration without a
// value, the override must not apply to all disks.
func TestAnEmptySelectorIsNone(t *testing.T) {
	for _, text := range []string{
		"overrides:\n- pool: tank\n  disk: \"\"\n  ignore: true\n",
		"overrides:\n- vmid: 100\n  pool: ''\n  ignore: true\n",
		"maintenance:\n- vmid:\n  disk: x\n  until: 2099-01-01T00:00:00Z\n",
		"overrides:\n- {pool: tank, disk: &nothing '', ignore: true}\n- {pool: tank, disk: *nothing, ignore: true}\n",
	} {
		_, err := parse([]byte(text))
		assert.ErrorContains(t, err, "has no value, so the entry would apply to all", text)
	}
}
