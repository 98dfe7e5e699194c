package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what the server used in the time that was measured.
type usage struct {
	CPU           float64 `json:"cpu_seconds"`
	CPUPerRequest float64 `json:"cpu_us_per_request"` // that was answered well
	RSS           float64 `json:"rss_mb"`             // 1024*1024 bytes; the most since its start
}

// measureUsage reads at both ends of a window what a process and its descendants have
// used. The function that it returns waits for that, and divides by requests. There
// is nothing to tell of process 0.
func measureUsage(pid int, start time.Time, w window) func(requests float64) (*usage, error) {
	if pid == 0 {
		return func(float64) (*usage, error) { return nil, nil }
	}
	var before, after used
	var errs [2]error
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(time.Until(start.Add(w.from)))
		before, errs[0] = readUsed("/proc", pid)
		time.Sleep(time.Until(start.Add(w.to)))
		after, errs[1] = readUsed("/proc", pid)
	}()
	return func(requests float64) (*usage, error) {
		<-done
		if err := errors.Join(errs[:]...); err != nil {
			return nil, fmt.Errorf("read what the server uses: %w", err)
		}
		return after.since(before, requests), nil
	}
}

// used is what a process and its descendants have used since they began.
type used struct {
	ticks int // of CPU, those of ended children included
	rssKB int // the most that each had at once, added up
}

const (
	ticksPerSecond  = 100 // USER_HZ, which is 100 on all that Go runs on
	microsPerSecond = 1e6
)

// since is what was used after an earlier reading.
func (u used) since(earlier used, requests float64) *usage {
	seconds := float64(u.ticks-earlier.ticks) / ticksPerSecond
	return &usage{CPU: seconds, CPUPerRequest: seconds * microsPerSecond / max(requests, 1), RSS: float64(u.rssKB) / 1024}
}

// readUsed reads proc, which is like /proc.
func readUsed(proc string, pid int) (used, error) {
	var u used
	if _, err := readStat(filepath.Join(proc, strconv.Itoa(pid), "stat")); err != nil {
		return u, err
	}
	family, err := descendants(proc, pid)
	if err != nil {
		return u, err
	}
	for _, member := range family {
		u.add(filepath.Join(proc, strconv.Itoa(member)))
	}
	return u, nil
}

// add adds a process. One that has ended meanwhile is overlooked: its parent has its
// ticks.
func (u *used) add(dir string) {
	process, err := readStat(filepath.Join(dir, "stat"))
	if err != nil {
		return
	}
	u.ticks += process.ticks + process.childTicks
	status, _ := os.ReadFile(filepath.Join(dir, "status"))
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			var kb int
			_, _ = fmt.Sscan(value, &kb)
			u.rssKB += kb
		}
	}
}

// descendants are a process, its children, theirs, and so on.
func descendants(proc string, pid int) ([]int, error) {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "stat"))
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range files {
		if s, err := readStat(file); err == nil {
			children[s.parent] = append(children[s.parent], s.pid)
		}
	}
	family := []int{pid}
	for i := 0; i < len(family); i++ {
		family = append(family, children[family[i]]...)
	}
	return family, nil
}

// stat is a part of a file /proc/PID/stat, see proc(5).
type stat struct {
	pid, parent int
	ticks       int // utime and stime
	childTicks  int // cutime and cstime: of children that have ended
}

func readStat(file string) (stat, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return stat{}, err
	}
	first, last := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')') // a name may have any of both
	if first < 0 || last < first {
		return stat{}, fmt.Errorf("read %s: there is no name in %q", file, text)
	}
	var s stat
	var state string
	var skip, user, system, childUser, childSystem int
	_, err = fmt.Sscan(string(text[:first]), &s.pid)
	if err == nil {
		_, err = fmt.Sscan(string(text[last+1:]), &state, &s.parent, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip, &skip,
			&user, &system, &childUser, &childSystem)
	}
	if err != nil {
		return stat{}, fmt.Errorf("read %s: %w", file, err)
	}
	s.ticks, s.childTicks = user+system, childUser+childSystem
	return s, nil
}
