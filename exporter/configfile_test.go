package exporter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfstest"
)

// configured is an exporter under test whose configuration is in a file.
type configured struct {
	*rig
	path string
}

func newConfigured(t *testing.T, text string) *configured {
	t.Helper()
	c := &configured{path: filepath.Join(t.TempDir(), "config.yaml")}
	if text != "" {
		c.write(t, text, start.Add(-time.Hour))
	}
	cfg, err := config.LoadDefault(c.path)
	require.NoError(t, err)
	w := world()
	w.Datasets = append(w.Datasets, zfstest.Dataset{Name: "tank/a", GUID: 10}, zfstest.Dataset{Name: "tank/b", GUID: 11})
	c.rig = newRig(t, w, func(s *Settings) {
		s.Config, s.ConfigFile = cfg, c.path
		s.Reuse = 5 * time.Second
	})
	return c
}

func (c *configured) write(t *testing.T, text string, at time.Time) {
	t.Helper()
	require.NoError(t, os.WriteFile(c.path, []byte(text), 0o600))
	require.NoError(t, os.Chtimes(c.path, at, at))
}

// inForce returns the metric about the last reload of the configuration. The results `onPage` and
// `logged` report whether the page and the log name a problem of the file.
func (c *configured) inForce(t *testing.T) (metric string, onPage, logged bool) {
	t.Helper()
	const problem = "the last good one stays in force"
	return line(c.scrape(), "snapwatch_config_last_reload_successful"), strings.Contains(c.waitPage(t, "/"), problem), strings.Contains(c.log.String(), problem)
}

func (c *configured) state(metrics, dataset, name, vmid, state string) string {
	return line(metrics, `snapwatch_disk_state{dataset="`+dataset+`",disk="`+name+`",pool="tank",state="`+state+`",vmid="`+vmid+`"}`)
}

const (
	quiet    = "maintenance:\n  - {vmid: 103, until: 2026-04-01T00:00:00Z, reason: work}\n"
	narrowed = "datasets: [tank/a]\n"
	misspelt = "limit: {warning: 3h}\n"
)

// A changed configuration file is in force at the next scrape, without a restart of the exporter.
func TestAChangedConfigurationIsTakenBetweenTwoScans(t *testing.T) {
	c := newConfigured(t, "limits: {warning: 2h}\n")
	assert.Equal(t, "1", c.state(c.scrape(), "tank/b/vm-103-disk-0", "vm-103-disk-0", "103", "stale"))
	assert.Empty(t, c.log.String(), "the file of the start is not a change")

	c.write(t, quiet, start.Add(-time.Minute))
	metrics := c.scrape()
	assert.Equal(t, "1", c.state(metrics, "tank/b/vm-103-disk-0", "vm-103-disk-0", "103", "excluded"))
	assert.Equal(t, "1", line(metrics, "snapwatch_config_last_reload_successful"))
	assert.Contains(t, c.log.String(), "configuration read again")
	assert.Contains(t, c.waitPage(t, "/"), "work")
}

// If the value of `datasets:` in the configuration has changed, the exporter immediately reads the
// new datasets, even if the last reading of the pools could still be reused. If the new
// configuration leaves out a disk's dataset, the disk must not count as missing.
func TestOtherDatasetsAreReadAtOnce(t *testing.T) {
	c := newConfigured(t, narrowed)
	metrics := c.scrape()
	assert.Equal(t, "no such series", c.state(metrics, "tank/b/vm-103-disk-0", "vm-103-disk-0", "103", "stale"))
	c.write(t, "datasets: [tank/a, tank/b]\n", start.Add(-time.Minute))
	assert.Equal(t, "1", c.state(c.scrape(), "tank/b/vm-103-disk-0", "vm-103-disk-0", "103", "stale"))
	c.write(t, "datasets: [tank/a, tank/b, tank/c]\n", start.Add(-30*time.Second))
	metrics = c.scrape()
	assert.Equal(t, "1", line(metrics, `snapwatch_pool_state{pool="tank",state="incomplete"}`))
	c.write(t, narrowed, start.Add(-2*time.Minute))
	metrics = c.scrape()
	assert.NotContains(t, metrics, "vm-103-disk-0")
	assert.Equal(t, "1", line(metrics, `snapwatch_pool_state{pool="tank",state="ok"}`))
}

// A faulty configuration file changes nothing. The exporter reports the faulty file once in the
// log, and on the page and as a metric until the file is corrected.
func TestAFaultyConfigurationIsRefused(t *testing.T) {
	c := newConfigured(t, quiet)
	assert.Equal(t, "1", line(c.scrape(), "snapwatch_config_last_reload_successful"))
	c.write(t, misspelt, start.Add(-time.Minute))
	for range 2 {
		metric, onPage, logged := c.inForce(t)
		assert.Equal(t, "0", metric)
		assert.True(t, onPage && logged)
		assert.Equal(t, "1", c.state(c.scrape(), "tank/b/vm-103-disk-0", "vm-103-disk-0", "103", "excluded"), "the last good one")
	}
	assert.Equal(t, 1, strings.Count(c.log.String(), "level=ERROR"))
	assert.Contains(t, c.log.String(), "limit")

	load := c.file.load
	c.file.load = func() (config.Config, error) { return config.Config{}, os.ErrPermission }
	c.write(t, quiet, start.Add(-30*time.Second))
	metric, _, _ := c.inForce(t)
	assert.Equal(t, "0", metric)
	c.file.load = load
	metric, onPage, _ := c.inForce(t)
	assert.Equal(t, "1", metric)
	assert.False(t, onPage)
}

// A configuration file that has disappeared is refused like a faulty file. The lack of a
// configuration file is a fault only if the file has existed before.
func TestAConfigurationThatIsGone(t *testing.T) {
	c := newConfigured(t, "")
	metric, onPage, _ := c.inForce(t)
	assert.Equal(t, "1", metric)
	assert.False(t, onPage)
	require.NoError(t, os.Symlink("nowhere", c.path))
	metric, _, _ = c.inForce(t)
	assert.Equal(t, "0", metric, "somebody meant to configure something")
	require.NoError(t, os.Remove(c.path))
	assert.Equal(t, "1", line(c.scrape(), "snapwatch_config_last_reload_successful"))
	c.write(t, quiet, start.Add(-time.Minute))
	assert.Equal(t, "1", c.state(c.scrape(), "tank/b/vm-103-disk-0", "vm-103-disk-0", "103", "excluded"))

	require.NoError(t, os.Remove(c.path))
	metric, onPage, _ = c.inForce(t)
	assert.Equal(t, "0", metric)
	assert.True(t, onPage)
	assert.Equal(t, "1", c.state(c.scrape(), "tank/b/vm-103-disk-0", "vm-103-disk-0", "103", "excluded"))
}

// An editor may move the configuration file away and back while the exporter reads it. If the
// configuration file is absent for a moment, the exporter must not use an empty configuration.
func TestTheFileGoesBetweenLookAndRead(t *testing.T) {
	c := newConfigured(t, narrowed)
	load := c.file.load
	c.file.load = func() (config.Config, error) {
		require.NoError(t, os.Rename(c.path, c.path+"~"))
		defer func() { require.NoError(t, os.Rename(c.path+"~", c.path)) }()
		return load()
	}
	c.write(t, narrowed+"# more\n", start.Add(-time.Minute))
	c.Reload()
	assert.Equal(t, []string{"tank/a"}, c.config().Datasets)
	c.file.load = load
	metric, _, _ := c.inForce(t)
	assert.Equal(t, "1", metric, "it is read again")
}

// An editor may have written half of the configuration file, and this half may be a valid
// configuration that watches less. The exporter therefore reads a changed configuration file only
// when the file has remained unchanged for a while, or when it gets a signal.
func TestAFileThatIsBeingWrittenIsNotRead(t *testing.T) {
	c := newConfigured(t, quiet)
	c.scrape()
	c.write(t, "", start.Add(-time.Second))
	excluded := func() string {
		return c.state(c.scrape(), "tank/b/vm-103-disk-0", "vm-103-disk-0", "103", "excluded")
	}
	assert.Equal(t, "1", excluded())
	c.write(t, quiet+"limits: {warning: 1h}\n", start)
	assert.Equal(t, "1", excluded())
	c.write(t, "# nothing\n", start)
	c.Reload()
	assert.Equal(t, "0", excluded(), "asked for")
	c.write(t, quiet, start)
	assert.Equal(t, "0", excluded())
	c.clock.forward(2 * time.Second)
	assert.Equal(t, "1", excluded(), "settled")
}

// A system call for a configuration file below /etc/pve may hang. A system call that hangs on the
// configuration file must delay neither a scrape nor the page.
func TestAHungConfigurationKeepsNobodyWaiting(t *testing.T) {
	c := newConfigured(t, quiet)
	hung := make(chan struct{})
	c.file.load = func() (config.Config, error) { <-hung; return config.Default(), nil }
	c.file.read = nil
	assert.Equal(t, "1", c.state(c.scrape(), "tank/b/vm-103-disk-0", "vm-103-disk-0", "103", "excluded"))
	close(hung)
	_, waited, _ := c.following.get(t.Context(), time.Minute)
	assert.True(t, waited)
}
