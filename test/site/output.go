package site

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

// streams are the pipes a process writes to. Unlike package exec's own they tell
// whether somebody still holds them when the process has ended.
type streams struct {
	readers, writers []*os.File
	copies           sync.WaitGroup
}

// add makes a pipe from *end, a stream of the process, to the collector.
func (s *streams) add(end *io.Writer, to io.Writer) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	*end = w
	s.readers, s.writers = append(s.readers, r), append(s.writers, w)
	s.copies.Go(func() { _, _ = io.Copy(to, r) }) // ends with either pipe
	return nil
}

// started lets go of what is the process's.
func (s *streams) started() {
	for _, w := range s.writers {
		w.Close()
	}
}

// finish waits until the pipes are empty and nobody holds them, but not longer
// than timeout.
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
		r.Close() // ends the copying, too
	}
	<-done
	return held
}

// output collects what a process prints and tells when there is more.
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
