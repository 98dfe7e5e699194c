package deploy

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// user is the Dockerfile's.
const user = 10001

// checkKubernetes holds the manifests against each other and the program.
func (d deployment) checkKubernetes() (p problems) {
	for _, object := range d.objects {
		name := object.(metav1.Object).GetName()
		p.unless(validation.IsDNS1123Label(name) == nil, "%T: %q is no name", object, name)
	}
	p = append(p, d.checkPod("job", d.job.Spec.Template)...)
	p = append(p, d.checkPod("server", d.server.Spec.Template)...)
	if len(p) > 0 { // what follows reads what is not there
		return p
	}
	p = append(p, d.checkJob()...)
	p = append(p, d.checkServer()...)
	return append(p, d.checkClaims()...)
}

// checkPod wants of a pod what the image expects.
func (d deployment) checkPod(name string, pod corev1.PodTemplateSpec) (p problems) {
	if len(pod.Spec.Containers) != 1 {
		return problems{name + " has another number of containers than one"}
	}
	c, s := pod.Spec.Containers[0], pod.Spec.SecurityContext
	if s == nil || c.SecurityContext == nil || s.RunAsUser == nil || s.RunAsNonRoot == nil || s.FSGroup == nil || pod.Spec.TerminationGracePeriodSeconds == nil {
		return problems{name + " lacks a security context or a grace period"}
	}
	p.unless(*s.RunAsUser == user && *s.RunAsNonRoot && *s.FSGroup == user, "%s runs as %+v", name, s)
	p.unless(isTrue(c.SecurityContext.ReadOnlyRootFilesystem) && c.SecurityContext.AllowPrivilegeEscalation != nil && !*c.SecurityContext.AllowPrivilegeEscalation &&
		slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}), "%s may do more than it needs: %+v", name, c.SecurityContext)
	p.unless(len(c.Command) == 0 && len(c.Args) > 0, "%s: the program is the image's entry point, and takes args", name)

	image := "residual:latest" // as make docker names it
	limits, requests := c.Resources.Limits, c.Resources.Requests
	if gpus, ok := limits["nvidia.com/gpu"]; ok {
		image = "residual:gpu"
		wanted := requests["nvidia.com/gpu"]
		p.unless(gpus.Value() > 0 && wanted.Value() == gpus.Value(), "%s wants %v GPUs and may have %v", name, &wanted, &gpus)
		p.unless(flagValue(c.Args, "--device") == "gpu", "%s would compute on a CPU where no GPU can be used: %v", name, c.Args)
	}
	p.unless(c.Image == image, "%s runs %s", name, c.Image)
	p.unless(!requests.Cpu().IsZero() && requests.Memory().Sign() > 0 && limits.Memory().Cmp(*requests.Memory()) >= 0, "%s: %+v", name, c.Resources)

	volumes := map[string]corev1.Volume{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = v
	}
	mounts := map[string]bool{}
	for _, m := range c.VolumeMounts {
		v, ok := volumes[m.Name]
		p.unless(ok, "%s mounts %s, which is no volume of it", name, m.Name)
		mounts[m.MountPath] = !m.ReadOnly
		if claim := v.PersistentVolumeClaim; claim != nil {
			p.unless(d.claims[claim.ClaimName] != nil && m.MountPath == "/"+m.Name, "%s mounts %s, claimed as %s, at %s", name, m.Name, claim.ClaimName, m.MountPath)
		}
	}
	p.unless(mounts["/tmp"], "%s cannot write to /tmp", name)
	return append(p, checkPaths(name, c.Args, mounts)...)
}

func isTrue(b *bool) bool { return b != nil && *b }

// flagValue is the word behind a flag, or behind its equals sign.
func flagValue(words []string, flag string) string {
	for i, word := range words {
		if value, ok := strings.CutPrefix(word, flag+"="); ok {
			return value
		}
		if word == flag && i+1 < len(words) {
			return words[i+1]
		}
	}
	return ""
}

// checkPaths wants the paths among a program's words under those that are mounted, true
// where they can be written to, as --out and a training's /data are.
func checkPaths(name string, words []string, mounts map[string]bool) (p problems) {
	for i, word := range words {
		if at := strings.Index(word, "/"); at >= 0 && !strings.Contains(word, "://") {
			writable, ok := mounts["/"+strings.Split(word[at:], "/")[1]]
			p.unless(ok && (writable || i == 0 || words[i-1] != "--out"), "%s has %s, and has mounted %v", name, word, mounts)
		}
	}
	p.unless(len(words) == 0 || words[0] != "train" || mounts["/data"], "%s cannot download into /data: %v", name, mounts)
	return p
}

// checkJob wants that a job goes on wherever it is stopped, and ends where that would
// not help.
func (d deployment) checkJob() (p problems) {
	pod := d.job.Spec.Template.Spec
	c := pod.Containers[0]
	p.unless(c.Args[0] == "train" && slices.Contains(c.Args, "--resume=auto") && pod.RestartPolicy == corev1.RestartPolicyNever, "it does not go on: %v, %s", c.Args, pod.RestartPolicy)
	p.unless(*pod.TerminationGracePeriodSeconds >= 60, "a checkpoint may take longer than %d s", *pod.TerminationGracePeriodSeconds)
	p.unless(d.job.Spec.BackoffLimit != nil && *d.job.Spec.BackoffLimit >= 3, "it gives up soon")
	p.unless(slices.ContainsFunc(pod.Tolerations, func(t corev1.Toleration) bool { return t.Key == "nvidia.com/gpu" }), "it keeps away from nodes with GPUs")
	if d.job.Spec.PodFailurePolicy == nil {
		return append(p, "each eviction counts as a failure")
	}
	evictionsAreIgnored := false
	acts := map[int32]batchv1.PodFailurePolicyAction{}
	for _, rule := range d.job.Spec.PodFailurePolicy.Rules {
		for _, condition := range rule.OnPodConditions {
			evictionsAreIgnored = evictionsAreIgnored ||
				rule.Action == batchv1.PodFailurePolicyActionIgnore && condition.Type == corev1.DisruptionTarget && condition.Status == corev1.ConditionTrue
		}
		if codes := rule.OnExitCodes; codes != nil {
			p.unless(codes.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && codes.ContainerName != nil && *codes.ContainerName == c.Name, "rule %+v", codes)
			for _, code := range codes.Values {
				if _, ok := acts[code]; !ok { // the first rule goes
					acts[code] = rule.Action
				}
			}
		}
	}
	p.unless(evictionsAreIgnored, "each eviction counts as a failure")
	// The program's exit codes, see cli/exit.go and docs/containers.md: after 1 and 2 another
	// try ends the same way.
	for _, code := range []int32{1, 2} {
		p.unless(acts[code] == batchv1.PodFailurePolicyActionFailJob, "exit code %d: %q", code, acts[code])
	}
	for _, code := range []int32{75, 134, 137, 143} {
		p.unless(acts[code] == batchv1.PodFailurePolicyActionCount, "exit code %d: %q", code, acts[code])
	}
	return p
}

// checkServer wants that servers of the job's model are found, probed and drained.
func (d deployment) checkServer() (p problems) {
	template := d.server.Spec.Template
	c := template.Spec.Containers[0]
	p.unless(c.Args[0] == "serve" && slices.Contains(c.Args, "--watch") && flagValue(c.Args, "--host") == "0.0.0.0", "it serves %v", c.Args)
	_, model, _ := strings.Cut(flagValue(c.Args, "--model"), "=")
	p.unless(model == path.Join(flagValue(d.job.Spec.Template.Spec.Containers[0].Args, "--out"), "model"), "it serves %s, which is not what the job trains", model)
	for name, selector := range map[string]*metav1.LabelSelector{
		"deployment": d.server.Spec.Selector, "budget": d.budget.Spec.Selector, "service": {MatchLabels: d.service.Spec.Selector},
	} {
		s, err := metav1.LabelSelectorAsSelector(selector)
		p.unless(err == nil && !s.Empty() && s.Matches(labels.Set(template.Labels)), "the %s does not select the pods: %v", name, s)
		p.unless(err == nil && !s.Matches(labels.Set(d.job.Spec.Template.Labels)), "the %s selects the job's pods: %v", name, s)
	}
	threads := c.Resources.Requests.Cpu().String()
	p.unless(flagValue(c.Args, "--threads") == threads, "it computes with %s threads, and requests %s CPUs", flagValue(c.Args, "--threads"), threads)
	ports := map[string]int32{}
	for _, port := range c.Ports {
		ports[port.Name] = port.ContainerPort
	}
	p.unless(ports["http"] == 8501 && ports["grpc"] == 8500, "the program listens on 8501 and 8500, not %v", ports)
	for _, port := range d.service.Spec.Ports {
		p.unless(port.TargetPort.StrVal == port.Name && ports[port.Name] == port.Port, "the service has %+v", port)
	}
	p = append(p, checkProbe("startup", c.StartupProbe, "/readyz", 30*time.Second)...)
	p = append(p, checkProbe("readiness", c.ReadinessProbe, "/readyz", 0)...)
	p = append(p, checkProbe("liveness", c.LivenessProbe, "/healthz", 30*time.Second)...)

	var drain time.Duration
	for _, flag := range []string{"--drain", "--drain-delay"} {
		d, err := time.ParseDuration(flagValue(c.Args, flag))
		p.unless(err == nil && d > 0, "%s: %v", flag, err)
		drain += d
	}
	grace := time.Duration(*template.Spec.TerminationGracePeriodSeconds) * time.Second
	p.unless(grace > drain, "the pod is killed after %v, and drains for %v", grace, drain)
	replicas := 1
	if d.server.Spec.Replicas != nil {
		replicas = int(*d.server.Spec.Replicas)
	}
	if update := d.server.Spec.Strategy.RollingUpdate; update != nil && update.MaxSurge != nil && update.MaxUnavailable != nil {
		p.unless(update.MaxSurge.IntValue()+update.MaxUnavailable.IntValue() > 0, "no update can go on")
	}
	if least := d.budget.Spec.MinAvailable; least == nil || least.Type != intstr.Int || least.IntValue() < 1 || least.IntValue() >= replicas {
		p.add("of %d pods the budget wants %v", replicas, least)
	}
	return p
}

// checkProbe wants a probe of the path that is patient for at least so long.
func checkProbe(name string, probe *corev1.Probe, path string, patience time.Duration) (p problems) {
	if probe == nil || probe.HTTPGet == nil {
		return problems{fmt.Sprintf("there is no %s probe", name)}
	}
	p.unless(probe.HTTPGet.Path == path && probe.HTTPGet.Port.StrVal == "http", "the %s probe asks %s at %v", name, probe.HTTPGet.Path, &probe.HTTPGet.Port)
	p.unless(probe.PeriodSeconds > 0 && (probe.FailureThreshold > 0 || patience == 0), "%s: %+v", name, probe)
	p.unless(time.Duration(probe.PeriodSeconds*probe.FailureThreshold)*time.Second >= patience, "the %s probe is patient for %d times %d s", name, probe.FailureThreshold, probe.PeriodSeconds)
	return p
}

// checkClaims wants volumes that the job can write to and that servers on other nodes
// can read.
func (d deployment) checkClaims() (p problems) {
	for _, pod := range []corev1.PodSpec{d.job.Spec.Template.Spec, d.server.Spec.Template.Spec} {
		for _, v := range pod.Volumes {
			if v.PersistentVolumeClaim == nil {
				continue
			}
			modes := d.claims[v.PersistentVolumeClaim.ClaimName].Spec.AccessModes
			want := corev1.ReadWriteMany
			if v.Name == "data" { // the job's alone
				want = corev1.ReadWriteOnce
			}
			p.unless(slices.Contains(modes, want), "%s is claimed as %v", v.Name, modes)
		}
	}
	return p
}
