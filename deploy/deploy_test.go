package deploy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// decode reads the objects of a file as a server does that refuses unknown fields.
func decode(text []byte) ([]runtime.Object, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer documents.Close()
	var objects []runtime.Object
	buffer := make([]byte, 1<<20)
	for {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		object, _, err := decoder.Decode(buffer[:n], nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, object)
	}
}

// manifests returns the objects of all files.
func manifests(t *testing.T) []runtime.Object {
	t.Helper()
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(files) != 3 {
		t.Fatalf("found %v, %v", files, err)
	}
	var all []runtime.Object
	for _, file := range files {
		objects, err := decode(read(t, file))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, objects...)
	}
	return all
}

// one returns the only object of its type.
func one[T runtime.Object](t *testing.T) T {
	t.Helper()
	var found []T
	for _, object := range manifests(t) {
		if o, ok := object.(T); ok {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("there are %d of %T", len(found), *new(T))
	}
	return found[0]
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Wrong manifests are refused: the test of the right ones can fail.
func TestWrongManifestsAreRefused(t *testing.T) {
	text := string(read(t, "kubernetes/serve.yaml"))
	for name, change := range map[string][2]string{
		"a field that is none":    {"readinessProbe:", "readynessProbe:"},
		"a field of another type": {"replicas: 2", "replicas: two"},
		"a field in another":      {"      automountServiceAccountToken: false\n", "      cpu: 1\n"},
		"a kind that is none":     {"kind: Deployment", "kind: Deploiment"},
		"a version that is none":  {"apiVersion: apps/v1", "apiVersion: apps/v2"},
		"a field twice":           {"  replicas: 2\n", "  replicas: 2\n  replicas: 2\n"},
	} {
		wrong := strings.Replace(text, change[0], change[1], 1)
		if wrong == text {
			t.Fatalf("%s: nothing was changed", name)
		}
		if _, err := decode([]byte(wrong)); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

// pods are the templates with the names of who makes them.
func pods(t *testing.T) map[string]corev1.PodTemplateSpec {
	return map[string]corev1.PodTemplateSpec{
		"job":        one[*batchv1.Job](t).Spec.Template,
		"deployment": one[*appsv1.Deployment](t).Spec.Template,
	}
}

func TestPodsRunAsTheImageDoes(t *testing.T) {
	for name, pod := range pods(t) {
		c, security := pod.Spec.Containers[0], pod.Spec.SecurityContext
		if *security.RunAsUser != 10001 || !*security.RunAsNonRoot || *security.FSGroup != 10001 {
			t.Errorf("%s: %+v", name, security)
		}
		if !*c.SecurityContext.ReadOnlyRootFilesystem || *c.SecurityContext.AllowPrivilegeEscalation || !slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: %+v", name, c.SecurityContext)
		}
		if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
			t.Errorf("%s has no limits: %+v", name, c.Resources)
		}
	}
}

// What pods mount is claimed.
func TestVolumesAreThere(t *testing.T) {
	claims := map[string]bool{}
	for _, object := range manifests(t) {
		if claim, ok := object.(*corev1.PersistentVolumeClaim); ok {
			claims[claim.Name] = true
		}
	}
	for name, pod := range pods(t) {
		volumes := map[string]bool{}
		for _, v := range pod.Spec.Volumes {
			volumes[v.Name] = true
			if v.PersistentVolumeClaim != nil && !claims[v.PersistentVolumeClaim.ClaimName] {
				t.Errorf("%s wants %s, there are %v", name, v.PersistentVolumeClaim.ClaimName, claims)
			}
		}
		for _, m := range pod.Spec.Containers[0].VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s mounts %s, which is no volume of it", name, m.Name)
			}
		}
	}
}

func TestTheJobGoesOnAfterEviction(t *testing.T) {
	job := one[*batchv1.Job](t)
	c := job.Spec.Template.Spec.Containers[0]
	if gpus := c.Resources.Limits["nvidia.com/gpu"]; gpus.Value() != 1 || c.Image != "residual:gpu" {
		t.Errorf("%s with %v GPUs", c.Image, gpus)
	}
	if at := slices.Index(c.Args, "--device"); at < 0 || c.Args[at+1] != "gpu" {
		t.Errorf("without a GPU it would train on the CPU: %v", c.Args)
	}
	if !slices.Contains(c.Args, "--resume=auto") || job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("it does not go on: %v, %s", c.Args, job.Spec.Template.Spec.RestartPolicy)
	}
	if *job.Spec.Template.Spec.TerminationGracePeriodSeconds < 60 {
		t.Errorf("a checkpoint takes longer than %d s", *job.Spec.Template.Spec.TerminationGracePeriodSeconds)
	}
	// The program's exit codes, see residual man: 1 and 2 are not tried again.
	acts := map[int32]batchv1.PodFailurePolicyAction{}
	for _, rule := range job.Spec.PodFailurePolicy.Rules {
		if rule.OnExitCodes == nil {
			if rule.Action != batchv1.PodFailurePolicyActionIgnore || rule.OnPodConditions[0].Type != corev1.DisruptionTarget {
				t.Errorf("an eviction counts as a failure: %+v", rule)
			}
			continue
		}
		if *rule.OnExitCodes.ContainerName != c.Name {
			t.Errorf("the rule is for %s, the container is %s", *rule.OnExitCodes.ContainerName, c.Name)
		}
		for _, code := range rule.OnExitCodes.Values {
			acts[code] = rule.Action
		}
	}
	for code, want := range map[int32]batchv1.PodFailurePolicyAction{
		1: batchv1.PodFailurePolicyActionFailJob, 2: batchv1.PodFailurePolicyActionFailJob,
		75: batchv1.PodFailurePolicyActionCount, 143: batchv1.PodFailurePolicyActionCount,
	} {
		if acts[code] != want {
			t.Errorf("exit code %d: %q, want %q", code, acts[code], want)
		}
	}
}

func TestServersAreFoundAndDrained(t *testing.T) {
	deployment, service, budget := one[*appsv1.Deployment](t), one[*corev1.Service](t), one[*policyv1.PodDisruptionBudget](t)
	template := deployment.Spec.Template
	for name, selector := range map[string]*metav1.LabelSelector{
		"the deployment": deployment.Spec.Selector, "the budget": budget.Spec.Selector, "the service": {MatchLabels: service.Spec.Selector},
	} {
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil || s.Empty() || !s.Matches(labels.Set(template.Labels)) {
			t.Errorf("%s does not select the pods: %v, %v", name, s, err)
		}
	}
	c := template.Spec.Containers[0]
	ports := map[string]int32{}
	for _, port := range c.Ports {
		ports[port.Name] = port.ContainerPort
	}
	if ports["http"] != 8501 || ports["grpc"] != 8500 {
		t.Errorf("the program listens on 8501 and 8500, not %v", ports)
	}
	for _, port := range service.Spec.Ports {
		if ports[port.TargetPort.StrVal] != port.Port {
			t.Errorf("the service has %+v", port)
		}
	}
	for name, probe := range map[string]*corev1.Probe{"/readyz": c.ReadinessProbe, "/healthz": c.LivenessProbe} {
		if probe.HTTPGet.Path != name || probe.HTTPGet.Port.StrVal != "http" {
			t.Errorf("%s: %+v", name, probe.HTTPGet)
		}
	}
	var drain time.Duration
	for _, flag := range []string{"--drain", "--drain-delay"} {
		d, err := time.ParseDuration(c.Args[slices.Index(c.Args, flag)+1])
		if err != nil {
			t.Fatal(err)
		}
		drain += d
	}
	if grace := time.Duration(*template.Spec.TerminationGracePeriodSeconds) * time.Second; grace <= drain {
		t.Errorf("the pod is killed after %v, and drains for %v", grace, drain)
	}
	if int32(budget.Spec.MinAvailable.IntValue()) >= *deployment.Spec.Replicas {
		t.Error("the budget lets no pod be evicted")
	}
}

// compose reads compose files as docker compose does.
func compose(t *testing.T, files ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions(files, cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestCompose(t *testing.T) {
	project := compose(t, "../compose.yaml")
	stages := regexp.MustCompile(`(?m)^FROM \S+ AS (\S+)$`).FindAllStringSubmatch(string(read(t, "../Dockerfile")), -1)
	for name, service := range project.Services {
		if !slices.ContainsFunc(stages, func(stage []string) bool { return stage[1] == service.Build.Target }) {
			t.Errorf("%s is built from %q, which is no stage of the Dockerfile", name, service.Build.Target)
		}
		if !service.ReadOnly {
			t.Errorf("%s can write into its root", name)
		}
	}
	serve := project.Services["serve"]
	if test := serve.HealthCheck.Test; !slices.Equal(test[:3], []string{"CMD", "residual", "doctor"}) {
		t.Errorf("the health check is %v", test)
	}
	if devices := project.Services["train"].Deploy.Resources.Reservations.Devices; len(devices) != 1 || devices[0].Driver != "nvidia" {
		t.Errorf("train has %v", devices)
	}
	if train := compose(t, "../compose.yaml", "compose.cpu.yaml").Services["train"]; train.Deploy != nil || train.Build.Target != "cpu" {
		t.Errorf("without a GPU train has %+v, %+v", train.Deploy, train.Build)
	}
}

// Flags in manifests and compose files are those of the program.
func TestFlagsAreKnown(t *testing.T) {
	commands := map[string][]string{}
	for name, pod := range pods(t) {
		commands[name] = pod.Spec.Containers[0].Args
	}
	for name, service := range compose(t, "../compose.yaml").Services {
		if name == "tensorboard" {
			continue
		}
		commands["compose "+name] = service.Command
		if h := service.HealthCheck; h != nil {
			commands["health of "+name] = h.Test[2:]
		}
	}
	for name, words := range commands {
		help := string(read(t, "../cli/testdata/help/residual-"+words[0]+".txt"))
		for _, word := range words[1:] {
			flag, _, _ := strings.Cut(word, "=")
			if strings.HasPrefix(flag, "--") && !regexp.MustCompile(`(?m)^   `+regexp.QuoteMeta(flag)+`[ ,[]`).MatchString(help) {
				t.Errorf("%s: residual %s has no %s", name, words[0], flag)
			}
		}
	}
}

// What images are built of is pinned.
func TestVersionsArePinned(t *testing.T) {
	dockerfile, makefile, goMod := string(read(t, "../Dockerfile")), string(read(t, "../Makefile")), string(read(t, "../go.mod"))
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
		text := string(read(t, "docker/"+file))
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
