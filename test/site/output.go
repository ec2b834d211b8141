package site

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

// streams contains the pipes to which a process writes. After the process has ended, streams
// reports whether another process still has the pipes open. Package exec does not report whether
// other processes have the pipes open.
type streams struct {
	readers, writers []*os.File
	copies           sync.WaitGroup
}

// add connects an output stream of the process with the writer `to`, by a pipe. The output stream
// is the one to which the argument `end` points.
func (s *streams) add(end *io.Writer, to io.Writer) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	*end = w
	s.readers, s.writers = append(s.readers, r), append(s.writers, w)
	s.copies.Go(func() { _, _ = io.Copy(to, r) }) // copying ends when either end of the pipe is closed
	return nil
}

// The method `started` is called after the process has started. It closes this program's write ends
// of the pipes, because the process has its own write ends.
func (s *streams) started() {
	for _, w := range s.writers {
		w.Close()
	}
}

// finish waits, at most for timeout, until the pipes are empty and no process has them open.
// finish reports whether a process still has a pipe open.
func (s *streams) finish(timeout time.Duration) (held bool) {
	done := make(chan struct{})
	go func() {
		s.copies.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(timeout):
		held = true
	}
	for _, r := range s.readers {
		r.Close() // closing the pipe also ends the copying
	}
	<-done
	return held
}

// output collects the output of a process and signals when more output arrives.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newOutput() *output { return &output{more: make(chan struct{})} }

func (o *output) Write(text []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.more)
	o.more = make(chan struct{})
	return o.text.Write(text)
}

func (o *output) read() (string, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.more
}

func (o *output) String() string {
	text, _ := o.read()
	return text
}
