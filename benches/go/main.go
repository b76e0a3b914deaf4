// Go's sync.Pool on the work of benches/benches/peers: get a slice of 1 KiB, write 64 bytes, put it
// back. Each line on stdin is "SCENARIO NUMBER NUMBER NANOSECONDS", where the numbers are threads and
// objects, getters and droppers, or 1 and bytes. The answer is nanoseconds of one core for an object,
// objects got, objects created, and the seconds that this process ran.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

var block [64]byte

// A pointer, as the documentation of sync.Pool says, or Put would allocate.
type object struct{ bytes []byte }

var (
	size    = 1024
	slow    = false
	created atomic.Int64
	pool    = sync.Pool{New: func() any { return create() }}
)

func create() *object {
	created.Add(1)
	if slow {
		time.Sleep(time.Millisecond)
	}
	return &object{make([]byte, 0, size)}
}

func get() *object {
	o := pool.Get().(*object)
	o.bytes = append(o.bytes[:0], block[:]...)
	return o
}

// All bytes are written.
func getTouched() *object {
	o := pool.Get().(*object)
	o.bytes = o.bytes[:cap(o.bytes)]
	clear(o.bytes)
	return o
}

func until(window time.Duration, objects int, once func()) (gets int) {
	start := time.Now()
	for time.Since(start) < window {
		once()
		gets += objects
	}
	return gets
}

func held(objects int, window time.Duration) int {
	turns := max(512/objects, 1)
	all := make([]*object, 0, objects)
	return until(window, turns*objects, func() {
		for t := 0; t < turns; t++ {
			if objects == 1 {
				pool.Put(get())
				continue
			}
			for i := 0; i < objects; i++ {
				all = append(all, get())
			}
			for _, o := range all {
				pool.Put(o)
			}
			all = all[:0]
		}
	})
}

func touched(window time.Duration) int {
	return until(window, 1, func() { pool.Put(getTouched()) })
}

var lost *object

func miss(window time.Duration) int {
	return until(window, 64, func() {
		for i := 0; i < 64; i++ {
			lost = get()
		}
	})
}

func starvation(objects int, window time.Duration) int {
	all := make([]*object, 0, objects)
	return until(window, objects, func() {
		for i := 0; i < objects; i++ {
			all = append(all, get())
		}
		for _, o := range all[:67] {
			pool.Put(o)
		}
		all = all[:0]
	})
}

// As in Go's benchmark: so much heap that collections come at a reasonable rate.
var ballast []byte

func expensive(objects int, window time.Duration) int {
	all := make([]*object, 0, objects)
	var beside []byte
	return until(window, objects, func() {
		for i := 0; i < objects; i++ {
			all = append(all, get())
			beside = make([]byte, 32<<10)
		}
		for _, o := range all {
			pool.Put(o)
		}
		all = all[:0]
		runtime.KeepAlive(beside)
	})
}

func first(window time.Duration) int {
	return until(window, 16, func() {
		for i := 0; i < 16; i++ {
			p := &sync.Pool{New: func() any { return create() }}
			p.Put(p.Get())
		}
	})
}

// The pause of a collection with so many objects idle: all processors stop for that long.
func collection(objects int) turn {
	all := make([]*object, 0, objects)
	for i := 0; i < objects; i++ {
		all = append(all, get())
	}
	for _, o := range all {
		pool.Put(o)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	runtime.GC()
	runtime.ReadMemStats(&after)
	return turn{float64(after.PauseTotalNs - before.PauseTotalNs), 1}
}

type turn struct {
	ns   float64
	gets int
}

// On one thread: its own processor time, which others on the machine do not lengthen.
func alone(window time.Duration, work func(time.Duration) int) turn {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	work(window / 8)
	start := busy(ofThread)
	gets := work(window)
	return turn{(busy(ofThread) - start) * 1e9 / float64(max(gets, 1)), gets}
}

// Clocks of Linux, which the package syscall does not name: what this process has run, and this thread.
const (
	ofProcess = 2
	ofThread  = 3
)

func busy(clock uintptr) float64 {
	var now syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&now)), 0)
	return float64(now.Nano()) / 1e9
}

func together(threads int, window time.Duration, work func(time.Duration) int) turn {
	if threads == 1 {
		return alone(window, work)
	}
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	counts := make([]int, threads)
	ready.Add(threads)
	done.Add(threads)
	for t := 0; t < threads; t++ {
		go func() {
			defer done.Done()
			work(window / 16)
			ready.Done()
			<-gate
			counts[t] = work(window)
		}()
	}
	ready.Wait()
	start := time.Now()
	close(gate)
	done.Wait()
	return each(time.Since(start), threads, counts)
}

func each(wall time.Duration, threads int, counts []int) turn {
	sum := 0
	for _, count := range counts {
		sum += count
	}
	cores := min(threads, runtime.NumCPU())
	return turn{float64(wall.Nanoseconds()) * float64(cores) / float64(max(sum, 1)), sum}
}

func drop(full <-chan []*object, empty chan<- []*object) {
	for batch := range full {
		for _, o := range batch {
			pool.Put(o)
		}
		select {
		case empty <- batch[:0]:
		default:
		}
	}
}

func crossing(getters, droppers int, window time.Duration, pipeline bool) turn {
	lines := max(getters, droppers)
	full := make(chan []*object, 2*lines)
	empty := make(chan []*object, 8*lines)
	for i := 0; i < 4*lines; i++ {
		empty <- make([]*object, 0, 64)
	}
	threads := getters + droppers
	last := full
	if pipeline {
		threads++
		last = make(chan []*object, 2)
		go func() {
			for batch := range full {
				// Looked at on the way.
				for _, o := range batch {
					runtime.KeepAlive(o)
				}
				last <- batch
			}
			close(last)
		}()
	}
	var dropping, getting sync.WaitGroup
	dropping.Add(droppers)
	for d := 0; d < droppers; d++ {
		go func() {
			defer dropping.Done()
			drop(last, empty)
		}()
	}
	counts := make([]int, getters)
	fill := func(window time.Duration) int {
		return until(window, 64, func() {
			batch := <-empty
			for i := 0; i < 64; i++ {
				batch = append(batch, get())
			}
			full <- batch
		})
	}
	fill(window / 8)
	getting.Add(getters)
	start := time.Now()
	for g := 0; g < getters; g++ {
		go func() {
			defer getting.Done()
			counts[g] = fill(window)
		}()
	}
	getting.Wait()
	wall := time.Since(start)
	close(full)
	dropping.Wait()
	return each(wall, threads, counts)
}

// Objects are of so many bytes from now on; what the scenario before this one has left is not.
func of(bytes int) {
	if size != bytes {
		size = bytes
		pool = sync.Pool{New: func() any { return create() }}
	}
}

func run(what string, one, other int, window time.Duration) turn {
	objects := func(work func(int, time.Duration) int) func(time.Duration) int {
		return func(w time.Duration) int { return work(other, w) }
	}
	if what != "sized" && what != "touched" {
		of(1024)
	}
	switch what {
	case "held":
		return together(one, window, objects(held))
	case "sized", "touched":
		of(other)
		if what == "touched" {
			return alone(window, touched)
		}
		return alone(window, func(w time.Duration) int { return held(1, w) })
	case "miss":
		return alone(window, miss)
	case "starvation":
		return together(one, window, objects(starvation))
	case "expensive":
		slow, ballast = true, make([]byte, 8<<20)
		defer func() { slow, ballast = false, nil }()
		return together(one, window, objects(expensive))
	case "first":
		return alone(window, first)
	case "collection":
		return collection(other)
	case "crossing":
		return crossing(one, other, window, false)
	case "pipeline":
		return crossing(1, 1, window, true)
	}
	return turn{}
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var what string
		var one, other int
		var nanoseconds int64
		fmt.Sscan(in.Text(), &what, &one, &other, &nanoseconds)
		created.Store(0)
		start := busy(ofProcess)
		answer := run(what, one, other, time.Duration(nanoseconds))
		seconds := busy(ofProcess) - start
		fmt.Println(answer.ns, answer.gets, created.Load(), seconds)
	}
}
