package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// manifestPaths are Kubernetes's files, and paths all that are looked at.
var (
	manifestPaths = []string{"kubernetes/job.yaml", "kubernetes/pvc.yaml", "kubernetes/serve.yaml"}
	paths         = append(slices.Clone(manifestPaths), "../compose.yaml", "compose.cpu.yaml", "../Dockerfile", "../cli/version.go")
)

// readAll returns the contents of paths.
func readAll(t *testing.T) map[string]string {
	t.Helper()
	if found, err := filepath.Glob("kubernetes/*"); err != nil || !slices.Equal(found, manifestPaths) {
		t.Fatalf("there are %v, %v", found, err)
	}
	files := map[string]string{}
	for _, path := range paths {
		files[path] = read(t, path)
	}
	return files
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// deployment is what the files say.
type deployment struct {
	objects    []runtime.Object
	job        *batchv1.Job
	server     *appsv1.Deployment
	service    *corev1.Service
	budget     *policyv1.PodDisruptionBudget
	claims     map[string]*corev1.PersistentVolumeClaim
	compose    *types.Project
	composeCPU *types.Project
	dockerfile string
	version    string // of the program
}

// parse reads files as those who take them do: Kubernetes's server where it refuses
// unknown fields, and docker compose.
func parse(files map[string]string) (d deployment, err error) {
	d = deployment{
		dockerfile: files["../Dockerfile"], claims: map[string]*corev1.PersistentVolumeClaim{},
		version: regexp.MustCompile(`const Version = "(.*)"`).FindStringSubmatch(files["../cli/version.go"])[1],
	}
	for _, path := range manifestPaths {
		objects, err := decode(files[path])
		if err != nil {
			return d, fmt.Errorf("%s: %w", path, err)
		}
		for _, object := range objects {
			d.objects = append(d.objects, object)
			switch o := object.(type) {
			case *batchv1.Job:
				d.job = o
			case *appsv1.Deployment:
				d.server = o
			case *corev1.Service:
				d.service = o
			case *policyv1.PodDisruptionBudget:
				d.budget = o
			case *corev1.PersistentVolumeClaim:
				d.claims[o.Name] = o
			default:
				return d, fmt.Errorf("%s has a %T, which nobody looks at", path, o)
			}
		}
	}
	if d.job == nil || d.server == nil || d.service == nil || d.budget == nil || len(d.objects) != 6 {
		return d, fmt.Errorf("there are %d objects", len(d.objects))
	}
	if d.compose, err = loadCompose(files, "../compose.yaml"); err != nil {
		return d, err
	}
	d.composeCPU, err = loadCompose(files, "../compose.yaml", "compose.cpu.yaml")
	return d, err
}

func decode(text string) ([]runtime.Object, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader([]byte(text))))
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

func loadCompose(files map[string]string, paths ...string) (*types.Project, error) {
	details := types.ConfigDetails{WorkingDir: ".."}
	for _, path := range paths {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: path, Content: []byte(files[path])})
	}
	return loader.LoadWithContext(context.Background(), details, func(o *loader.Options) { o.SetProjectName("residual", true) })
}

// problems collects sentences.
type problems []string

func (p *problems) add(format string, values ...any) { *p = append(*p, fmt.Sprintf(format, values...)) }

// unless adds one unless what should hold does.
func (p *problems) unless(holds bool, format string, values ...any) {
	if !holds {
		p.add(format, values...)
	}
}
