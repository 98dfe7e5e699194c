package deploy

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// check returns all that is wrong with files.
func check(files map[string]string) problems {
	d, err := parse(files)
	if err != nil {
		return problems{err.Error()}
	}
	if found := slices.Concat(d.checkKubernetes(), d.checkCompose(), d.checkDockerfile()); len(found) > 0 {
		return found
	}
	return d.checkCommands()
}

func TestFiles(t *testing.T) {
	for _, problem := range check(readAll(t)) {
		t.Error(problem)
	}
}

// program is what make build makes.
const program = "../bin/residual"

// checkCommands lets the program itself read the words that it is called with in
// containers: with another model, which is not there, so that it does nothing.
func (d deployment) checkCommands() (p problems) {
	commands := map[string][]string{"job": d.job.Spec.Template.Spec.Containers[0].Args, "server": d.server.Spec.Template.Spec.Containers[0].Args}
	for name, service := range d.compose.Services {
		if name != "tensorboard" {
			commands["compose "+name] = service.Command
		}
		if service.HealthCheck != nil {
			commands["health of "+name] = service.HealthCheck.Test[2:]
		}
	}
	commands["compose train without a GPU"] = d.composeCPU.Services["train"].Command
	for name, words := range commands {
		words = slices.Clone(words)
		switch {
		case slices.Contains(words, "--model"):
			at := slices.Index(words, "--model") + 1
			words[at] = strings.ReplaceAll(words[at], "/", "/nowhere/")
		case words[0] == "train":
			words = append(words, "--model", "/nowhere")
		}
		for i, word := range words { // nobody listens there
			words[i] = strings.ReplaceAll(word, "127.0.0.1:8501", "127.0.0.1:1")
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		out, err := exec.CommandContext(ctx, program, words...).CombinedOutput()
		cancel()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 { // 2 is wrong usage
			p.add("%s: residual %s: %v: %s", name, strings.Join(words, " "), err, out)
		}
	}
	return p
}

// Each of these is a mistake that somebody could make, and that the test above notices.
func TestMistakesAreNoticed(t *testing.T) {
	if _, err := os.Stat(program); err != nil {
		t.Fatal("make build has not been run: ", err)
	}
	const job, serve, pvc, compose, cpu, dockerfile = "kubernetes/job.yaml", "kubernetes/serve.yaml", "kubernetes/pvc.yaml", "../compose.yaml", "compose.cpu.yaml", "../Dockerfile"
	right := readAll(t)
	for _, mistake := range []struct{ file, is, becomes string }{
		{serve, "readinessProbe:", "readynessProbe:"},
		{serve, "replicas: 2", "replicas: two"},
		{serve, "replicas: 2\n", "replicas: 2\n  replicas: 2\n"},
		{serve, "replicas: 2", "replicas: 1"},
		{serve, "kind: Deployment", "kind: Deploiment"},
		{serve, "apps/v1", "apps/v2"},
		{serve, "name: residual-serve", "name: Residual_serve"},
		{serve, "image: residual:latest", "image: residual:newest"},
		{serve, "--host, 0.0.0.0, ", ""},
		{serve, "--watch, ", ""},
		{serve, "--log-format, json", "--log-format, jsn"},
		{serve, "--drain, 30s", "--drain, 50s"},
		{serve, "--threads, \"2\"", "--threads, \"two\""},
		{serve, "first=/runs/first/model", "first=/run/first/model"},
		{serve, "first=/runs/first/model", "first=/runs/frst/model"},
		{serve, "mountPath: /runs", "mountPath: /run"},
		{serve, "memory: 4Gi", "memory: 1Gi"},
		{serve, "memory: 4Gi", "memory: -4Gi"},
		{serve, "args: [serve", "command: [serve"},
		{serve, "startupProbe:\n            httpGet: {path: /readyz", "startupProbe:\n            httpGet: {path: /redyz"},
		{serve, "          startupProbe:\n            httpGet: {path: /readyz, port: http}\n            periodSeconds: 2\n            failureThreshold: 60\n", ""},
		{serve, "          livenessProbe:\n            httpGet: {path: /healthz, port: http}\n            periodSeconds: 10\n            failureThreshold: 6\n", ""},
		{serve, "failureThreshold: 60", "failureThreshold: 0"},
		{serve, "maxSurge: 1", "maxSurge: 0"},
		{serve, "minAvailable: 1", "minAvailable: 100%"},
		{serve, "targetPort: grpc", "targetPort: http"},
		{serve, "selector: {app.kubernetes.io/name: residual, app.kubernetes.io/component: serve}", "selector: {app.kubernetes.io/name: residual}"},
		{job, "operator: In,", "operator: NotIn,"},
		{job, `status: "True"`, `status: "False"`},
		{job, "backoffLimit: 20", "backoffLimit: 0"},
		{job, "nvidia.com/gpu: 1}\n            limits", "nvidia.com/gpu: 2}\n            limits"},
		{job, "--out, /runs/first", "--out, /runs/frst"},
		{job, "--checkpoint-every, 5m", "--checkpoint-every, 5x"},
		{job, "137, ", ""},
		{job, "values: [1, 2]", "values: [1, 2, 143]"},
		{job, "mountPath: /data", "mountPath: /dta"},
		{job, "--resume=auto, ", ""},
		{job, "--device, gpu, ", ""},
		{job, "runAsUser: 10001", "runAsUser: 0"},
		{job, "restartPolicy: Never", "restartPolicy: Always"},
		{job, "mountPath: /runs}", "mountPath: /runs, readOnly: true}"},
		{job, "mountPath: /data}", "mountPath: /data, readOnly: true}"},
		{serve, `--threads, "2"`, `--threads, "4"`},
		{compose, "volumes: [data:/data, runs:/runs]", "volumes: [data:/data, \"runs:/runs:ro\"]"},
		{pvc, "ReadWriteMany]", "ReadOnlyMany]"},
		{pvc, "ReadWriteMany]", "ReadWriteMny]"},
		{pvc, "name: residual-data", "name: residual-dta"},
		{compose, "--host, 0.0.0.0", "--host, 127.0.0.1"},
		{compose, "127.0.0.1:8501:8501", "127.0.0.1:8501:8051"},
		{compose, "http://127.0.0.1:8501/readyz", "http://127.0.0.1:8510/readyz"},
		{compose, "8501/readyz", "8501/redyz"},
		{compose, "timeout: 6s", "timeout: 1s"},
		{compose, "--resume=auto, ", ""},
		{compose, "--device, gpu, ", ""},
		{compose, "count: 1", "count: 0"},
		{compose, "stop_grace_period: 2m", "stop_grace_period: 2s"},
		{compose, "restart: on-failure", "restart: on-failre"},
		{compose, "tmpfs: [/tmp]", "tmpfs: [/tpm]"},
		{compose, "target: gpu", "target: gpus"},
		{compose, "read_only: true", "read_onli: true"},
		{cpu, "[train, ", "[train, --device, gpu, "},
		{dockerfile, "USER 10001:10001", "USER 0:0"},
		{dockerfile, "--from=build", "--from=biuld"},
		{dockerfile, `image.version="`, `image.version="0`},
	} {
		files := make(map[string]string, len(right))
		for path, text := range right {
			files[path] = text
		}
		files[mistake.file] = strings.Replace(files[mistake.file], mistake.is, mistake.becomes, 1)
		if files[mistake.file] == right[mistake.file] {
			t.Errorf("%s has no %q", mistake.file, mistake.is)
		} else if len(check(files)) == 0 {
			t.Errorf("%s: that %q became %q was not noticed", mistake.file, mistake.is, mistake.becomes)
		}
	}
}
