package command

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A detached program has a session of its own and none of this process's open files. The detached
// program reads from this process and prints to this process by pipes, until this process closes
// the pipes.
func TestDetached(t *testing.T) {
	kept, err := os.Create(t.TempDir() + "/lock")
	require.NoError(t, err)
	defer kept.Close()
	c, err := StartDetached("/bin/sh", []string{"detached", "-c", `echo $$; read -r line; echo "read $line"; cat`})
	require.NoError(t, err)
	said := bufio.NewReader(c)
	pid, err := said.ReadString('\n')
	require.NoError(t, err)
	dir := "/proc/" + strings.TrimSpace(pid)
	stat, err := os.ReadFile(dir + "/stat")
	require.NoError(t, err)
	_, fields, _ := strings.Cut(string(stat), ") ")
	assert.Equal(t, strings.TrimSpace(pid), strings.Fields(fields)[3], "its session is its own")
	cmdline, err := os.ReadFile(dir + "/cmdline")
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(cmdline), "detached\x00"), "%q", cmdline)
	open, err := os.ReadDir(dir + "/fd")
	require.NoError(t, err)
	for _, fd := range open {
		target, _ := os.Readlink(dir + "/fd/" + fd.Name())
		assert.NotEqual(t, kept.Name(), target, "it keeps what is open here")
	}
	_, err = c.Write([]byte("freeze\n"))
	require.NoError(t, err)
	line, err := said.ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "read freeze\n", line)
	require.NoError(t, c.Close())
	_, err = StartDetached("/no/such/program", []string{"x"})
	assert.ErrorContains(t, err, "no such file")
}
