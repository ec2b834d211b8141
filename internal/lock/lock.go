// Package lock takes flock(2) locks. Each pool has one lock for writing and one lock for listing.
// Each guest has one lock, which Proxmox takes while it starts, stops or rolls back the guest. The
// kernel releases a flock when the last process that has the file open closes it. Therefore a lock
// that a child process inherited remains locked as long as the child lives, even if the child
// hangs. A lock file has an effect only while a process has the file open.
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

// A process reads at most longestNote bytes of the text about a lock's holder from a lock file.
const longestNote = 64

// careful has the flags for opening a lock file that another user may have replaced by a link or a
// pipe.
const careful = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// Lock is a lock on a file, by flock(2), that this process holds. The code calls flock(2) directly,
// because the usual libraries hide the open file, which a child must inherit.
type Lock struct {
	file *os.File
	// The field `before` is the text that was in the lock file when this process took the lock
	// exclusively.
	before string
}

// Busy is the error of taking a lock that another process holds.
type Busy struct {
	Path string
	// PID is the process number of the lock's holder, as the lock file names it, 0 if the file has
	// no number.
	PID int
	// Since is the time when the holder took the lock, zero if the lock file has no time.
	Since time.Time
}

func (b *Busy) Error() string {
	if b.PID == 0 {
		return fmt.Sprintf("%s is locked by another process", b.Path)
	}
	return fmt.Sprintf("%s is locked by process %d since %s", b.Path, b.PID, b.Since.Local().Format(time.DateTime))
}

// The modes of lock files. Every user who can open a lock file can take its lock, and so keep all
// others from taking it. A lock file is therefore private, except if several users must share the
// lock.
const (
	private = 0o600
	shared  = 0o644
)

// TryExclusive takes the lock at path for this process alone, and writes the number of this process
// and the present time into the lock file. TryExclusive never waits: the error is a [*Busy] if
// another process holds the lock. Only root and the owner of the directory can open the lock file.
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

// note writes three things into the lock file, for people and for [WaitTurn]: the holder's process
// number, the time, and the text in the argument `more`.
func (l *Lock) note(now time.Time, more string) {
	if err := l.file.Truncate(0); err == nil {
		_, _ = l.file.WriteAt(fmt.Appendf(nil, "%d %d\n%s", os.Getpid(), now.Unix(), more), 0)
	}
}

// TryShared takes the lock at path in shared mode, without waiting. The error is a [*Busy] if
// another process holds the lock exclusively.
func TryShared(path string) (*Lock, error) { return try(path, syscall.LOCK_SH, shared) }

// File returns the open lock file, which a child may inherit.
func (l *Lock) File() *os.File { return l.file }

// Release releases the lock in this process; a child that inherited the lock keeps it. Release
// closes the file. Release does not use LOCK_UN, because LOCK_UN would also release the child's
// lock: the child and this process share one open file, to which the lock belongs (flock(2)).
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
		err = errors.New("it is not a regular file: remove it")
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

// open opens the lock file, or creates it. An existing file is opened without O_CREAT: with
// fs.protected_regular, the kernel refuses O_CREAT on another user's file in a sticky directory
// such as /run/lock, even to root. A user with mere read permission for a file can still lock the
// file. open refuses a symbolic link, because the link could make root overwrite the file at its
// end. In a directory that all users may write to, a user may have put a pipe in the place of the
// lock file, so open must not block on a pipe.
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

// create creates the lock file with the given mode, whatever the umask is. A private file that root
// creates gets the owner of its directory, because this owner could not open a private file of
// root. If a second user creates the lock file at the same moment, create opens the second user's
// file.
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

// claim makes an existing lock file private, and returns an error for a file of another user.
func claim(file *os.File, info fs.FileInfo) error {
	dir, err := os.Stat(filepath.Dir(file.Name()))
	if err != nil {
		return err
	}
	if owner := ownerOf(info); owner != 0 && owner != os.Geteuid() && owner != ownerOf(dir) {
		return fmt.Errorf("it belongs to user %d: remove it", owner)
	}
	if info.Mode().Perm() != private {
		_ = file.Chmod(private) // only the file's owner and root can do this
	}
	return nil
}

// ownerOf returns the user id of a file's owner, -1 if it is unknown.
func ownerOf(info fs.FileInfo) int {
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(owner.Uid)
	}
	return -1
}

// give changes the owner of a lock file to the owner of the directory dir.
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

// holder reads from the lock file which process holds the lock. Any user may have written the
// content of the lock file.
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
