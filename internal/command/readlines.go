package command

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ReadLines passes each line of from, without its newline, to the function `each`. ReadLines
// returns the first error of the function each or of reading, and [ErrCut] if the last line has no
// newline.
func ReadLines(from io.Reader, each func(string) error) error {
	r := bufio.NewReaderSize(from, 64<<10)
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if long = append(long, part...); len(long) > MaxLine {
				return fmt.Errorf("a line of the output is longer than %d bytes", MaxLine)
			}
			continue
		}
		line := part
		if len(long) > 0 {
			line = append(long, part...)
			long = long[:0]
		}
		line, whole := bytes.CutSuffix(line, []byte("\n"))
		if whole || len(line) > 0 {
			if fnErr := each(string(line)); fnErr != nil {
				return fnErr
			}
		}
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return ErrCut
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// head is a writer that keeps the first maxStderr bytes of all text that was written to it.
type head struct {
	mu   sync.Mutex
	text []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if room := maxStderr - len(h.text); room > 0 {
		h.text = append(h.text, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.text)
}
