package sim

import (
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"snapwatch/snapper/run"
)

// crew runs the parallel tasks of a simulated run of snap, one task at a time. At each call of
// [run.World], crew may let another task continue; the seed decides which task.
type crew struct {
	chance *rand.Rand
	tasks  []*task
	// late is true if the functions that Gather starts seem to end one by one, each long after the
	// previous one.
	late bool
	// The field `at` is the task that is running now; nil means the run itself.
	at *task
	// idle has the coroutines whose tasks have ended, in this run or in an earlier run. A new task
	// uses an idle coroutine if there is one, because a new coroutine starts with a small stack,
	// which must grow first.
	idle *[]*coroutine
}

type task struct {
	do    func()
	on    *coroutine
	ended bool
}

// coroutine runs one task after the other, until the function `stop` ends the coroutine.
type coroutine struct {
	task   *task
	resume func() (struct{}, bool)
	stop   func()
	yield  func(struct{}) bool
}

func newCoroutine() *coroutine {
	c := &coroutine{}
	c.resume, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		c.yield = yield
		for more := true; more; more = yield(struct{}{}) {
			c.task.do()
			c.task.ended = true
		}
	})
	return c
}

// dismiss ends the idle coroutines, which would otherwise keep the whole world in memory.
func (w *World) dismiss() {
	for _, c := range w.idle {
		c.stop()
	}
	w.idle = nil
}

// turn interrupts the running task and lets other tasks of the run continue; the seed decides which
// tasks.
func (c *crew) turn() {
	if c.at != nil {
		c.at.on.yield(struct{}{})
		return
	}
	for len(c.tasks) > 0 && c.chance.IntN(2) == 0 {
		c.resume()
	}
}

// resume continues one task until the task's next call of [run.World].
func (c *crew) resume() {
	t := c.tasks[c.chance.IntN(len(c.tasks))]
	c.at = t
	t.on.resume()
	c.at = nil
	if t.ended {
		*c.idle = append(*c.idle, t.on)
		c.tasks = slices.DeleteFunc(c.tasks, func(o *task) bool { return o == t })
	}
}

// await resumes tasks of the run until the function `so` returns true.
func (c *crew) await(so func() bool) {
	for !so() {
		if c.at != nil {
			c.at.on.yield(struct{}{})
		} else {
			c.resume()
		}
	}
}

// start adds a task to the crew. The task calls the function `do` when the task is resumed for the
// first time.
func (c *crew) start(do func()) *task {
	t := &task{do: do}
	if n := len(*c.idle); n > 0 {
		t.on, *c.idle = (*c.idle)[n-1], (*c.idle)[:n-1]
	} else {
		t.on = newCoroutine()
	}
	t.on.task = t
	c.tasks = append(c.tasks, t)
	return t
}

// lanes implements [run.Lanes]: it runs a group of tasks of a crew. The field `most` is the largest
// number of tasks of the group that run at the same time; 0 means no limit.
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

// Gather implements [run.Time]. If the field `late` is false, the first call of the returned
// function `next` returns the indices of all functions. If `late` is true, each call of `next`
// returns one index.
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
