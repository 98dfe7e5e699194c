// Command load asks an inference server the same thing again and again, over
// HTTP/1.1 connections that stay open, and prints as JSON how many answers came and
// how long they took.
//
//	load -url http://127.0.0.1:8501/v2/models/m/infer -body request.bin -header "Name: value" -connections 8
//	load -url … -body … -connections 256 -rate 90
//
// Without -rate each connection asks again when it has its answer. With it requests
// come at moments that are drawn beforehand, as those of many people do, or with -even
// as a clock ticks: how busy the server is changes nothing, an answer's time counts
// from that moment, and a request that finds all connections busy then is dropped, and
// counted as such.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"syscall"
	"time"
)

// result is what is printed.
type result struct {
	Connections int     `json:"connections"`
	Rate        float64 `json:"rate,omitempty"` // that was wanted
	Seconds     float64 `json:"seconds"`        // that were measured
	summary
	*usage
	ClientCPU float64 `json:"client_cpu_seconds"` // of this program, all in all
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run() error {
	var (
		url         = flag.String("url", "", "what is asked, http://…")
		body        = flag.String("body", "", "a file that is sent as it is")
		connections = flag.Int("connections", 1, "how many requests are on their way at most")
		rate        = flag.Float64("rate", 0, "requests a second; 0: each connection asks again when it has its answer")
		even        = flag.Bool("even", false, "requests come at equal distances")
		seed        = flag.Uint64("seed", 1, "of the moments when requests come")
		warmup      = flag.Duration("warmup", time.Second, "before it is measured")
		duration    = flag.Duration("duration", 10*time.Second, "that is measured")
		pid         = flag.Int("pid", 0, "the server: what it and its children use is told, too")
		header      = headers{}
	)
	flag.Var(header, "header", `"Name: value"; may be given several times`)
	flag.Parse()
	if *connections < 1 || *rate < 0 || *warmup < 0 || *duration <= 0 {
		return errors.New("-connections and -duration must be positive, -rate and -warmup not negative")
	}
	if *even && *rate == 0 {
		return errors.New("-even is for requests at a rate: give -rate")
	}
	host, request, err := compose(*url, *body, header)
	if err != nil {
		return err
	}
	measured := window{*warmup, *warmup + *duration}
	l := newLoad(host, request, *connections)
	used := measureUsage(*pid, l.start, measured)
	found := result{Connections: *connections, Rate: *rate, Seconds: duration.Seconds()}
	if *rate > 0 {
		moments := arrivals(*rate, measured.to, *seed)
		if *even {
			moments = ticks(*rate, measured.to)
		}
		found.summary = summarize(l.open(moments), *duration, func(r record) bool { return measured.has(r.begun) })
	} else {
		records := l.closed(measured.to)
		w := measured.betweenAnswers(records)
		found.summary = summarize(records, w.to-w.from, func(r record) bool { return w.has(r.ended) })
	}
	// Answers are counted between two of them, what was used in the window itself.
	if found.usage, err = used(found.RequestsPerSecond * duration.Seconds()); err != nil {
		return err
	}
	if found.lastError != nil {
		fmt.Fprintf(os.Stderr, "load: %d requests without an answer, the last: %v\n", found.Errors, found.lastError)
	}
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		return fmt.Errorf("read own CPU time: %w", err)
	}
	found.ClientCPU = time.Duration(own.Utime.Nano() + own.Stime.Nano()).Seconds()
	return json.NewEncoder(os.Stdout).Encode(found)
}
