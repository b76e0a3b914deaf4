// Go's sync.Pool on the work of benches/benches/peers: get a slice of 1 KiB, write 64 bytes, put it
// back. Answers one line on stdin, "held THREADS OBJECTS NANOSECONDS", "starvation THREADS 100 ..." or
// "crossing GETTERS DROPPERS ...", with nanoseconds of one core for an object.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
)

var block [64]byte

// A pointer, as the documentation of sync.Pool says, or Put would allocate.
type object struct{ bytes []byte }

var pool = sync.Pool{New: func() any { return &object{make([]byte, 0, 1024)} }}

func get() *object {
	o := pool.Get().(*object)
	o.bytes = append(o.bytes[:0], block[:]...)
	return o
}

func held(objects int, window time.Duration) (gets int) {
	start := time.Now()
	turns := 512 / objects
	if turns < 1 {
		turns = 1
	}
	all := make([]*object, 0, objects)
	for time.Since(start) < window {
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
		gets += turns * objects
	}
	return gets
}

func starvation(objects int, window time.Duration) (gets int) {
	start := time.Now()
	all := make([]*object, 0, objects)
	for time.Since(start) < window {
		for i := 0; i < objects; i++ {
			all = append(all, get())
		}
		for _, o := range all[:67] {
			pool.Put(o)
		}
		all = all[:0]
		gets += objects
	}
	return gets
}

func together(threads int, window time.Duration, work func(time.Duration) int) float64 {
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

func each(wall time.Duration, threads int, counts []int) float64 {
	sum := 0
	for _, count := range counts {
		sum += count
	}
	return float64(wall.Nanoseconds()) * float64(min(threads, runtime.NumCPU())) / float64(max(sum, 1))
}

func crossing(getters, droppers int, window time.Duration) float64 {
	lines := max(getters, droppers)
	full := make(chan []*object, 2*lines)
	empty := make(chan []*object, 8*lines)
	for i := 0; i < 4*lines; i++ {
		empty <- make([]*object, 0, 64)
	}
	var dropping, getting sync.WaitGroup
	dropping.Add(droppers)
	for d := 0; d < droppers; d++ {
		go func() {
			defer dropping.Done()
			for batch := range full {
				for _, o := range batch {
					pool.Put(o)
				}
				select {
				case empty <- batch[:0]:
				default:
				}
			}
		}()
	}
	counts := make([]int, getters)
	fill := func(window time.Duration) (gets int) {
		start := time.Now()
		for time.Since(start) < window {
			batch := <-empty
			for i := 0; i < 64; i++ {
				batch = append(batch, get())
			}
			gets += 64
			full <- batch
		}
		return gets
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
	return each(wall, getters+droppers, counts)
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var what string
		var one, other int
		var nanoseconds int64
		fmt.Sscan(in.Text(), &what, &one, &other, &nanoseconds)
		window := time.Duration(nanoseconds)
		switch what {
		case "held":
			fmt.Println(together(one, window, func(w time.Duration) int { return held(other, w) }))
		case "starvation":
			fmt.Println(together(one, window, func(w time.Duration) int { return starvation(other, w) }))
		case "crossing":
			fmt.Println(crossing(one, other, window))
		default:
			fmt.Println("unknown")
		}
	}
}
