// Package lock takes flock(2) locks: one per pool for writing, one per pool for
// listing, and a guest's own, which Proxmox takes while it starts, stops or rolls
// back the guest. A flock dies with the last process that holds the file open, so
// a lock inherited by a child lives exactly as long as a hung child does, and a
// lock file that is left behind locks nothing.
package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// longestNote is more than what says who holds a lock has, in bytes.
const longestNote = 64

// careful opens a file that somebody else may have put there.
const careful = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// Lock is a held lock. flock(2) is called here and not through a library, since
// the ones there are keep the open file to themselves, and a child must inherit it.
type Lock struct {
	file *os.File
	// before is what stood in the file of an exclusive lock when it was taken.
	before string
}

// Busy is the error for a lock that somebody else holds.
type Busy struct {
	Path string
	// PID is the process that said it holds the lock, 0 if none did.
	PID int
	// Since is when it took the lock, zero if it did not say.
	Since time.Time
}

func (b *Busy) Error() string {
	if b.PID == 0 {
		return fmt.Sprintf("%s is locked by another process", b.Path)
	}
	return fmt.Sprintf("%s is locked by process %d since %s", b.Path, b.PID, b.Since.Local().Format(time.DateTime))
}

// The modes of lock files. Whoever can open a file can lock it, and keep others out: so a
// lock is private unless several users are to share it.
const (
	private = 0o600
	shared  = 0o644
)

// TryExclusive takes the lock at path for this process alone and writes into the
// file who holds it since when. It never waits: the error is a [*Busy] when
// somebody else holds it. Only root and the owner of the directory can open the file.
func TryExclusive(path string, now time.Time) (*Lock, error) { return tryExclusive(path, private, now) }

func tryExclusive(path string, mode fs.FileMode, now time.Time) (*Lock, error) {
	l, err := try(path, syscall.LOCK_EX, mode)
	if err != nil {
		return nil, err
	}
	before := make([]byte, longestNote)
	n, _ := l.file.ReadAt(before, 0)
	l.before = string(before[:n])
	l.note(now, "")
	return l, nil
}

// note writes who holds the lock, since when, and what else there is to say. The text is for
// people and for [WaitTurn]; the lock itself does not depend on it.
func (l *Lock) note(now time.Time, more string) {
	if err := l.file.Truncate(0); err == nil {
		_, _ = l.file.WriteAt(fmt.Appendf(nil, "%d %d\n%s", os.Getpid(), now.Unix(), more), 0)
	}
}

// TryShared takes the lock at path shared with other readers, without waiting.
// The error is a [*Busy] when somebody holds it exclusively.
func TryShared(path string) (*Lock, error) { return try(path, syscall.LOCK_SH, shared) }

// File is the open lock file, to be inherited by a child.
func (l *Lock) File() *os.File { return l.file }

// Release gives the lock up in this process; a child that inherited it keeps it.
// It closes the file and leaves LOCK_UN alone, which would unlock it for the child,
// too: the lock belongs to the open file that both share (flock(2)).
func (l *Lock) Release() error { return l.file.Close() }

func try(path string, how int, mode fs.FileMode) (*Lock, error) {
	file, err := open(path, mode)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("it is no regular file: remove it")
	case mode == private:
		err = claim(file, info)
	}
	if err == nil {
		err = syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
	}
	if err == nil {
		return &Lock{file: file}, nil
	}
	defer func() { _ = file.Close() }()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, holder(file)
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// open opens the lock file, or makes it. A file that is there is opened without
// O_CREAT: with fs.protected_regular the kernel refuses O_CREAT on another user's
// file in a sticky directory such as /run/lock, even to root. One that may only be
// read can be locked all the same. A link is refused: it could lead root to a file that
// is then overwritten. In a directory that all may write to, a pipe may be in its place,
// which must not be waited for.
func open(path string, mode fs.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|careful, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return os.OpenFile(path, os.O_RDONLY|careful, 0)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return create(path, mode)
	}
	return file, err
}

// create makes the lock file, with this mode whatever the umask. A private one belongs to
// whom its directory does, or what root made there would keep that one out. Where another
// user was quicker, that one's file is opened.
func create(path string, mode fs.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, mode)
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(path, os.O_RDONLY|careful, 0)
	}
	if err != nil {
		return nil, err
	}
	err = file.Chmod(mode)
	if err == nil && mode == private && os.Geteuid() == 0 {
		err = give(file, filepath.Dir(path))
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// claim makes a file that is there private, and refuses one that is another user's.
func claim(file *os.File, info fs.FileInfo) error {
	dir, err := os.Stat(filepath.Dir(file.Name()))
	if err != nil {
		return err
	}
	if owner := ownerOf(info); owner != 0 && owner != os.Geteuid() && owner != ownerOf(dir) {
		return fmt.Errorf("it belongs to user %d: remove it", owner)
	}
	if info.Mode().Perm() != private {
		_ = file.Chmod(private) // only its owner and root can
	}
	return nil
}

// ownerOf is the user that a file belongs to, -1 where that is not known.
func ownerOf(info fs.FileInfo) int {
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(owner.Uid)
	}
	return -1
}

// give makes a file belong to whom the directory does.
func give(file *os.File, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if owner := ownerOf(info); owner > 0 {
		return file.Chown(owner, -1)
	}
	return nil
}

// holder reads who holds a lock. Anybody may have written the file.
func holder(file *os.File) *Busy {
	busy := &Busy{Path: file.Name()}
	note := make([]byte, longestNote)
	n, _ := file.ReadAt(note, 0)
	first, _, _ := strings.Cut(string(note[:n]), "\n")
	pid, since, _ := strings.Cut(strings.TrimSpace(first), " ")
	seconds, err := strconv.ParseInt(since, 10, 64)
	if err != nil {
		return busy
	}
	if busy.PID, err = strconv.Atoi(pid); err != nil {
		return &Busy{Path: file.Name()}
	}
	busy.Since = time.Unix(seconds, 0)
	return busy
}
