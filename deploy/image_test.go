package deploy

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// checkDockerfile wants what all else here relies on.
func (d deployment) checkDockerfile() (p problems) {
	stages := map[string]bool{}
	for line := range strings.Lines(d.dockerfile) {
		if m := regexp.MustCompile(`^FROM (\S+) AS (\S+)`).FindStringSubmatch(line); m != nil {
			p.unless(strings.HasPrefix(m[1], "${") || stages[m[1]], "there is no stage %s", m[1])
			stages[m[2]] = true
		}
		for _, m := range regexp.MustCompile(`from=([^\s,]+)`).FindAllStringSubmatch(line, -1) {
			p.unless(stages[m[1]], "there is no stage %s", m[1])
		}
		if m := regexp.MustCompile(`^USER (\S+)`).FindStringSubmatch(line); m != nil {
			p.unless(m[1] == fmt.Sprintf("%d:%d", user, user), "it runs as %s", m[1])
		}
	}
	runtime, rest, _ := strings.Cut(d.dockerfile, "AS runtime\n")
	p.unless(len(runtime) > 0 && strings.Contains(rest, "\nUSER ") && strings.Contains(rest, `ENTRYPOINT ["residual"]`) && strings.Contains(rest, "XDG_CACHE_HOME=/data"),
		"the runtime has no user, entry point or cache")
	p.unless(strings.Contains(rest, `org.opencontainers.image.version="`+d.version+`"`), "the image has another version than the program (%s)", d.version)
	return p
}

// What images are built of is pinned.
func TestVersionsArePinned(t *testing.T) {
	dockerfile, makefile, goMod := read(t, "../Dockerfile"), read(t, "../Makefile"), read(t, "../go.mod")
	for _, base := range regexp.MustCompile(`(?m)^ARG (?:PYTHON|GO|DEBIAN)=(\S+)$`).FindAllStringSubmatch(dockerfile, -1) {
		if !regexp.MustCompile(`^[a-z]+:\d+\.\d+`).MatchString(base[1]) {
			t.Errorf("%s is of no version", base[1])
		}
	}
	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(goMod)[1]
	if !strings.Contains(dockerfile, "ARG GO=golang:"+language+".") {
		t.Errorf("the Dockerfile builds with another Go than %s", language)
	}
	version := regexp.MustCompile(`(?m)^TF \?= (\S+)$`).FindStringSubmatch(makefile)[1]
	for file, wheel := range map[string]string{"cpu.txt": "tensorflow_cpu", "gpu.txt": "tensorflow", "tensorboard.txt": "tensorboard"} {
		text := read(t, "docker/"+file)
		if !strings.Contains(text, "\n"+wheel+"=="+version[:4]) {
			t.Errorf("docker/%s has another %s than %s: make lock", file, wheel, version)
		}
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "#") && !regexp.MustCompile(`^[\w.-]+==\S+ --hash=sha256:[0-9a-f]{64}\n$`).MatchString(line) {
				t.Errorf("docker/%s: %q has no hash", file, line)
			}
		}
	}
}
