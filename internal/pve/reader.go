package pve

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/lock"
)

// ownersTimeout is the longest time for listing the names below /etc/pve, which pmxcfs has in
// memory.
const ownersTimeout = 30 * time.Second

// question names the data below /etc/pve that one process asks a second process to read.
type question struct {
	Host Host
	// What names the data: "cluster" means all configuration files, "owners" means the names of the
	// guests' configuration files.
	What string
}

// answer has the data that was read below /etc/pve, or the error of reading.
type answer struct {
	Cluster Cluster
	Owners  Owners
	Err     string
	// NotPVE and Missing are true if the error of reading is [ErrNotPVE] or [fs.ErrNotExist].
	NotPVE, Missing bool
}

// readError is an error of the process that read below /etc/pve, in the process that asked for the
// reading.
type readError struct {
	text string
	is   []error
}

func (e *readError) Error() string   { return e.text }
func (e *readError) Unwrap() []error { return e.is }

// ask reads the requested data below /etc/pve, by the command [Host.Reader], or in this process if
// Reader is empty. ask stops waiting when ctx ends; the error then names the command to check
// pmxcfs with.
func (h Host) ask(ctx context.Context, q question) (answer, error) {
	q.Host = h
	var a answer
	var err error
	if len(h.Reader) > 0 {
		a, err = askReader(ctx, q)
	} else {
		a, err = runApart(ctx, q.answer)
	}
	if err == nil || ctx.Err() == nil {
		return a, err
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return answer{}, context.Cause(ctx)
	}
	last := ""
	if busy, hangs := errors.AsType[*lock.Busy](err); hangs {
		last = fmt.Sprintf("the reader before this one still hangs (%v): ", busy)
	}
	return answer{}, fmt.Errorf("reading %s: %s%w (is pmxcfs hung? systemctl status pve-cluster)", h.Etc, last, ctx.Err())
}

// A reader is a process that reads below /etc/pve for a second process. The method `turn` waits
// until no reader of this user is running, or until ctx ends. At most one reader of a user may run,
// because readers that hang cannot be killed and would pile up. The returned lock is nil if the
// lock file cannot be created.
func (h Host) turn(ctx context.Context) (*lock.Lock, error) {
	l, err := lock.Wait(ctx, filepath.Join(h.Lock, fmt.Sprintf("snapwatch-read-pve@%d.lock", os.Geteuid())), time.Now()) //nolint:forbidigo // a note for people; no program reads it
	if _, busy := errors.AsType[*lock.Busy](err); busy {
		return nil, err
	}
	return l, nil
}

func askReader(ctx context.Context, q question) (answer, error) {
	asked, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	turn, err := q.Host.turn(ctx)
	if err != nil {
		return answer{}, err
	}
	reader := command.Cmd{Argv: q.Host.Reader, Stdin: string(asked)}
	if turn != nil { // the reader process keeps the lock as long as it lives
		defer func() { _ = turn.Release() }()
		reader.Inherit = []*os.File{turn.File()}
	}
	var text strings.Builder
	err = command.Lines(ctx, reader, func(line string) error {
		text.WriteString(line)
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	var a answer
	if err := gob.NewDecoder(base64.NewDecoder(base64.StdEncoding, strings.NewReader(text.String()))).Decode(&a); err != nil {
		return answer{}, fmt.Errorf("%s: the answer has an unexpected form: %w", strings.Join(q.Host.Reader, " "), err)
	}
	return a, a.failure()
}

// failure returns the error of the process that read below /etc/pve, nil if the reading succeeded.
func (a answer) failure() error {
	if a.Err == "" {
		return nil
	}
	e := &readError{text: a.Err}
	if a.NotPVE {
		e.is = append(e.is, ErrNotPVE)
	}
	if a.Missing {
		e.is = append(e.is, fs.ErrNotExist)
	}
	return e
}

// answer reads the requested data below /etc/pve in this process.
func (q question) answer() (a answer, err error) {
	switch q.What {
	case "cluster":
		a.Cluster, err = q.Host.readCluster()
	case "owners":
		a.Owners, err = q.Host.readOwners()
	default:
		err = fmt.Errorf("unknown question: %q", q.What)
	}
	return a, err
}

// runApart calls `read`, which may hang, in a goroutine of its own. runApart waits for the result
// of `read` until ctx ends.
func runApart[T any](ctx context.Context, read func() (T, error)) (value T, err error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return value, context.Cause(ctx)
	}
}

// maxAnswerLine is the length in bytes of the lines in which [Answer] writes its data, well below
// the limit of [command.Lines].
const maxAnswerLine = 64 << 10

// Answer does the work of the command [Host.Reader]: it reads a question from in, reads the files
// that the question names, and writes their data to out.
func Answer(in io.Reader, out io.Writer) error {
	var q question
	if err := json.NewDecoder(in).Decode(&q); err != nil {
		return err
	}
	a, err := q.answer()
	if err != nil {
		a = answer{Err: err.Error(), NotPVE: errors.Is(err, ErrNotPVE), Missing: errors.Is(err, fs.ErrNotExist)}
	}
	var packed bytes.Buffer // not JSON, because JSON would replace bytes that are not UTF-8
	if err := gob.NewEncoder(&packed).Encode(a); err != nil {
		return err
	}
	text := base64.StdEncoding.EncodeToString(packed.Bytes())
	for len(text) > 0 {
		line := text[:min(len(text), maxAnswerLine)]
		text = text[len(line):]
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}
