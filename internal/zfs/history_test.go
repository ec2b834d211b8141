package zfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
)

// readHistory parses a text in the form that zpool history prints. The argument `over` has the
// transaction groups of the given bookmarks.
func readHistory(text string, over ...uint64) (History, error) {
	var bookmarks []Snapshot
	for _, txg := range over {
		bookmarks = append(bookmarks, Snapshot{Name: fmt.Sprint("s", txg), CreateTXG: txg})
	}
	r := Reader{Run: func(_ context.Context, _ command.Cmd, each func(string) error) error {
		return command.ReadLines(strings.NewReader(text), each)
	}}
	return r.History(context.Background(), "back", bookmarks)
}

// historyHead begins each history: ZFS never overwrites the records up to the first command, zpool
// create.
const historyHead = "History for 'back':\n2026-11-29.22:00:00 [txg:4] create pool version 5000; software version unknown\n2026-11-29.22:00:00 zpool create back /tmp/b.img\n2026-11-29.22:00:00 [txg:5] create back/data (68) \n"

const (
	receivedBack = "2026-11-29.22:00:01 [txg:14] clone swap back/data/vm-1-disk-0/%recv (146) parent=vm-1-disk-0\n" +
		"2026-11-29.22:00:01 [txg:14] snapshot back/data/vm-1-disk-0@s3 (152) \n" +
		"2026-11-29.22:00:01 [txg:14] destroy back/data/vm-1-disk-0/%recv (146) (bptree, mintxg=7)\n"
	rolledBack = "2026-11-29.22:00:02 [txg:20] clone swap back/data/vm-1-disk-0/%rollback (150) parent=vm-1-disk-0 [on lab]\n" +
		"2026-11-29.22:00:02 [txg:20] destroy back/data/vm-1-disk-0/%rollback (150) (bptree, mintxg=16) [on lab]\n"
)

func TestHistory(t *testing.T) {
	const disk = "back/data/vm-1-disk-0"
	for name, test := range map[string]struct {
		text  string
		want  []SetBack
		since uint64
		lost  []string
	}{
		"nothing":                         {"", nil, 5, nil},
		"a receive":                       {receivedBack, []SetBack{{disk, 7, 14}}, 5, nil},
		"a rollback, as 2.3 prints it":    {rolledBack, []SetBack{{disk, 16, 20}}, 5, nil},
		"both":                            {receivedBack + rolledBack, []SetBack{{disk, 7, 14}, {disk, 16, 20}}, 5, nil},
		"what nobody asked for":           {"2026-11-29.22:00:01 [txg:14] clone swap " + disk + "/%recv (146) parent=vm-1-disk-0\n2026-11-29.22:00:01 [txg:14] destroy " + disk + "/%recv (146) (bptree, mintxg=13)\n", nil, 5, nil},
		"a receive that was given up":     {"2026-11-29.22:00:01 [txg:14] destroy " + disk + "/%recv (146) (bptree, mintxg=7)\n", nil, 5, nil},
		"of another number":               {strings.Replace(receivedBack, "destroy back/data/vm-1-disk-0/%recv (146)", "destroy back/data/vm-1-disk-0/%recv (147)", 1), nil, 5, []string{disk}},
		"in another group":                {strings.Replace(receivedBack, "[txg:14] destroy", "[txg:15] destroy", 1), nil, 5, []string{disk}},
		"without its base":                {strings.Replace(receivedBack, " (bptree, mintxg=7)", "", 1), nil, 5, []string{disk}},
		"the last record":                 {"2026-11-29.22:00:01 [txg:14] clone swap " + disk + "/%recv (146) parent=vm-1-disk-0\n", nil, 5, []string{disk}},
		"a parent that does not fit":      {strings.Replace(receivedBack, "parent=vm-1-disk-0", "parent=vm-2-disk-0", 1), nil, 5, nil},
		"renamed since":                   {receivedBack + "2026-11-29.22:00:03 [txg:21] rename " + disk + " (134) -> back/data/vm-2-disk-0\n", []SetBack{{"back/data/vm-2-disk-0", 7, 14}}, 5, nil},
		"its parent renamed":              {receivedBack + "2026-11-29.22:00:03 [txg:21] rename back/data (68) -> back/new [on lab]\n", []SetBack{{"back/new/vm-1-disk-0", 7, 14}}, 5, nil},
		"another got its name":            {receivedBack + "2026-11-29.22:00:03 [txg:21] rename back/x (134) -> " + disk + "\n", nil, 5, nil},
		"the pool had another name":       {strings.ReplaceAll(receivedBack, "back/", "third/"), []SetBack{{disk, 7, 14}}, 5, nil},
		"a snapshot of another renamed":   {receivedBack + "2026-11-29.22:00:03 [txg:21] rename back/other@yesterday (93) -> @twodays\n", []SetBack{{disk, 7, 14}}, 5, nil},
		"promoted, a snapshot renamed":    {receivedBack + "2026-11-29.22:00:03 [txg:20] promote " + disk + " (160) \n2026-11-29.22:00:03 [txg:21] rename back/other@yesterday (93) -> @twodays\n", []SetBack{{disk, 7, 14}}, 5, []string{disk}},
		"a rename that is not understood": {receivedBack + "2026-11-29.22:00:03 [txg:21] rename something\n", nil, 21, nil},
		"promoted":                        {receivedBack + "2026-11-29.22:00:03 [txg:21] promote " + disk + " (160) \n", []SetBack{{disk, 7, 14}}, 5, []string{disk}},
		"a line that a value made up":     {"2026-11-29.22:00:00 [txg:12] set back/x (5) label:running=a\n2026-11-29.22:00:01 [txg:9] clone swap " + disk + "/%recv (1) parent=vm-1-disk-0\n2026-11-29.22:00:01 [txg:9] destroy " + disk + "/%recv (1) (bptree, mintxg=1)\n" + receivedBack, []SetBack{{disk, 7, 14}}, 12, nil},
		"one that makes up a later time":  {"2026-11-29.22:00:01 [txg:90] x\n" + receivedBack, nil, 90, nil},
		"output of a program":             {"2026-11-29.22:00:01 ioctl channel_program\n    input:\n        program: 'clone swap x'\n" + receivedBack, []SetBack{{disk, 7, 14}}, 5, nil},
		"a line that is cut":              {"2026-11-29.22:00:01 [txg:\n2026-11-29.22:00:01 [txg:x] y\n" + receivedBack, []SetBack{{disk, 7, 14}}, 5, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := readHistory(historyHead+test.text, 8, 17)
			require.NoError(t, err)
			assert.Equal(t, test.since, h.Since)
			var lost []string
			for dataset := range h.Breaks {
				lost = append(lost, dataset)
			}
			assert.Equal(t, test.lost, lost)
			assert.ElementsMatch(t, test.want, h.SetBacks)
		})
	}
}

func TestHistoryIsNone(t *testing.T) {
	for _, text := range []string{"", "History for 'other':\n", "History for 'back':\n2026-11-29.22:00:00 [txg:4] create pool version 5000\n2026-11-29.22:00:00 zpool create back /tmp/b.img\n", "cannot open\n"} {
		_, err := readHistory(text, 8)
		assert.ErrorIs(t, err, errHistory, "%q", text)
	}
}

func TestPoolTXG(t *testing.T) {
	dir := t.TempDir()
	assert.Zero(t, PoolTXG(dir, "back"))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "back"), 0o755))
	for text, want := range map[string]uint64{
		"": 0, "txg      birth            state\n": 0,
		"txg      birth            state\n77       44495202728      C     0\n79       44499385932      O     0\n": 79,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "back", "txgs"), []byte(text), 0o644))
		assert.Equal(t, want, PoolTXG(dir, "back"), text)
	}
}

// The parsed history contains a received snapshot if one of the given bookmarks has the snapshot's
// name.
func TestHistoryTellsWhatWasReceived(t *testing.T) {
	text := historyHead + "2026-11-29.22:00:01 [txg:14] finish receiving back/data/vm-1-disk-0/%recv (146) snap=s8\n2026-11-29.22:00:01 [txg:14] finish receiving back/data/vm-1-disk-0/%recv (146) snap=other\n" +
		"2026-11-29.22:00:03 [txg:21] rename back/data (68) -> back/new\n"
	h, err := readHistory(text, 8)
	require.NoError(t, err)
	assert.Equal(t, []Received{{"back/new/vm-1-disk-0", "s8", 14}}, h.Received)
}

// When ZFS overwrites records of a pool's history, it keeps the record of the first command and
// overwrites the oldest records after it.
func TestHistoryThatWasWrittenOver(t *testing.T) {
	kept := "History for 'back':\n2026-11-29.22:00:00 [txg:4] create pool version 5000\n2026-11-29.22:00:00 [txg:4] set feature@lz4_compress=enabled\n2026-11-29.22:00:00 [txg:5] set back (54) mountpoint=none\n2026-11-29.22:00:00 zpool create back /tmp/b.img\n"
	h, err := readHistory(kept+"2026-11-29.22:00:01 [txg:12] set back (54) a:b=380\n"+receivedBack, 8)
	require.NoError(t, err)
	assert.EqualValues(t, 12, h.Since)
	h, err = readHistory(strings.Replace(kept, "zpool create", "no command", 1)+receivedBack, 8)
	require.NoError(t, err)
	assert.EqualValues(t, 4, h.Since, "nothing is kept of a pool without a command")
}

// A pool's history is read as a stream. If a set-back concerns none of the given bookmarks, its
// record takes no memory.
func BenchmarkHistory(b *testing.B) {
	var text strings.Builder
	text.WriteString(historyHead)
	for txg := range 100_000 {
		fmt.Fprintf(&text, "2026-11-29.22:00:01 [txg:%[1]d] clone swap back/data/vm-1-disk-0/%%recv (%[1]d) parent=vm-1-disk-0\n2026-11-29.22:00:01 [txg:%[1]d] destroy back/data/vm-1-disk-0/%%recv (%[1]d) (bptree, mintxg=%[2]d)\n", txg+6, txg+5)
	}
	b.ReportAllocs()
	for b.Loop() {
		h, err := readHistory(text.String(), 50_000)
		if err != nil || len(h.SetBacks) != 0 {
			b.Fatal(h, err)
		}
	}
}

// FuzzHistory checks for any history that each set-back belongs to a dataset of the pool, and that
// each set-back is within the complete part of the history.
func FuzzHistory(f *testing.F) {
	f.Add(historyHead + receivedBack + rolledBack)
	f.Add(historyHead + "2026-11-29.22:00:03 [txg:21] rename back/data (68) -> back/new\n" + receivedBack)
	f.Add(historyHead + "2026-11-29.22:00:03 [txg:21] promote back/data (68) \n2026-11-29.22:00:03 [txg:9] x\n")
	f.Fuzz(func(t *testing.T, text string) {
		h, err := readHistory(text, 8, 17)
		if err != nil {
			return
		}
		for _, s := range h.SetBacks {
			if !Within(s.Dataset, "back") || s.TXG < h.Since {
				t.Errorf("%+v, known since %d", s, h.Since)
			}
		}
	})
}
