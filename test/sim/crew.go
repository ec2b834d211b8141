package sim

import (
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"snapwatch/snapper/run"
)

// crew does what a run does side by side, one thing at a time. At each call of the world
// another may take its turn, so that the seed decides in which order all of it happens.
type crew struct {
	chance *rand.Rand
	tasks  []*task
	// late: of what is gathered nothing waits for the rest.
	late bool
	// at is the task whose turn it is, nil for the run itself.
	at *task
}

type task struct {
	resume func() (struct{}, bool)
	yield  func(struct{}) bool
	ended  bool
}

// turn lets others go on, or not.
func (c *crew) turn() {
	if c.at != nil {
		c.at.yield(struct{}{})
		return
	}
	for len(c.tasks) > 0 && c.chance.IntN(2) == 0 {
		c.resume()
	}
}

// resume lets one of the tasks go on to its next call.
func (c *crew) resume() {
	t := c.tasks[c.chance.IntN(len(c.tasks))]
	c.at = t
	_, more := t.resume()
	c.at = nil
	if !more {
		c.tasks = slices.DeleteFunc(c.tasks, func(o *task) bool { return o == t })
	}
}

// await lets the tasks go on until it is so.
func (c *crew) await(so func() bool) {
	for !so() {
		if c.at != nil {
			c.at.yield(struct{}{})
		} else {
			c.resume()
		}
	}
}

// start makes a task of do, which begins when its turn comes.
func (c *crew) start(do func()) *task {
	t := &task{}
	t.resume, _ = iter.Pull(func(yield func(struct{}) bool) {
		t.yield = yield
		do()
		t.ended = true
	})
	c.tasks = append(c.tasks, t)
	return t
}

// lanes are some of a crew.
type lanes struct {
	crew        *crew
	most, inUse int
}

func (l *lanes) Go(do func()) (wait func()) {
	t := l.crew.start(func() {
		l.crew.await(func() bool { return l.most == 0 || l.inUse < l.most })
		l.inUse++
		do()
		l.inUse--
	})
	return func() { l.crew.await(func() bool { return t.ended }) }
}

// Lanes implements [run.Time].
func (c *crew) Lanes(n int) run.Lanes { return &lanes{crew: c, most: n} }

// Gather implements [run.Time]. All of the work ends in time, or each part too late for the
// one before.
func (c *crew) Gather(_ time.Duration, work ...func()) (next func() []int) {
	var ended []int
	for i, do := range work {
		c.start(func() {
			do()
			ended = append(ended, i)
		})
	}
	missing := len(work)
	return func() []int {
		some := missing
		if c.late {
			some = 1
		}
		c.await(func() bool { return len(ended) >= some })
		got := ended[:some]
		ended, missing = ended[some:], missing-some
		return got
	}
}
