package deploy

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
)

// checkCompose holds compose.yaml against the Dockerfile and the program.
func (d deployment) checkCompose() (p problems) {
	tags := map[string]string{"cpu": "latest", "gpu": "gpu", "tensorboard": "tensorboard"} // as make docker has them
	for name, s := range d.compose.Services {
		if s.Build == nil {
			p.add("%s is not built", name)
			continue
		}
		p.unless(strings.Contains(d.dockerfile, " AS "+s.Build.Target+"\n") && s.Image == "residual:"+tags[s.Build.Target], "%s is %s, built from %s", name, s.Image, s.Build.Target)
		p.unless(s.ReadOnly && slices.Contains(s.Tmpfs, "/tmp"), "%s can write into its root, or not to /tmp", name)
		mounts := map[string]bool{}
		for _, v := range s.Volumes {
			p.unless(v.Target == "/"+v.Source, "%s has %s at %s", name, v.Source, v.Target)
			mounts[v.Target] = !v.ReadOnly
		}
		p = append(p, checkPaths(name, s.Command, mounts)...)
		p.unless(slices.Contains([]string{"", "no", "always", "on-failure", "unless-stopped"}, s.Restart), "%s restarts %s", name, s.Restart)
	}
	train, serve := d.compose.Services["train"], d.compose.Services["serve"]
	if len(train.Command) == 0 || len(serve.Command) == 0 || train.Deploy == nil || train.StopGracePeriod == nil || serve.HealthCheck == nil {
		return append(p, "train or serve lacks a command, a deploy, a grace period or a health check")
	}
	p.unless(train.Command[0] == "train" && slices.Contains(train.Command, "--resume=auto"), "train does not go on: %v", train.Command)
	p.unless(time.Duration(*train.StopGracePeriod) >= time.Minute, "a checkpoint may take longer than %v", train.StopGracePeriod)
	var reserved types.Resource
	if r := train.Deploy.Resources.Reservations; r != nil {
		reserved = *r
	}
	hasGPU := len(reserved.Devices) == 1 && reserved.Devices[0].Driver == "nvidia" && reserved.Devices[0].Count != 0
	p.unless(hasGPU && flagValue(train.Command, "--device") == "gpu", "train has %+v, and computes with %v", reserved.Devices, train.Command)

	cpu := d.composeCPU.Services["train"]
	p.unless(cpu.Deploy == nil && cpu.Build.Target == "cpu" && cpu.Image == serve.Image && flagValue(cpu.Command, "--device") == "",
		"without a GPU train is %+v, %v", cpu.Deploy, cpu.Command)
	p.unless(flagValue(cpu.Command, "--out") == flagValue(train.Command, "--out") && slices.Contains(cpu.Command, "--resume=auto"), "without a GPU it trains by %v", cpu.Command)

	_, model, _ := strings.Cut(flagValue(serve.Command, "--model"), "=")
	p.unless(model == path.Join(flagValue(train.Command, "--out"), "model"), "it serves %s, which is not what is trained", model)
	p.unless(slices.Contains(serve.Command, "--watch") && flagValue(serve.Command, "--host") == "0.0.0.0", "it serves %v", serve.Command)
	p.unless(serve.Restart == "on-failure" || serve.Restart == "always" || serve.Restart == "unless-stopped", "serve ends for ever where there is no model yet")
	for _, port := range serve.Ports {
		p.unless(port.Published == fmt.Sprint(port.Target) && (port.Target == 8501 || port.Target == 8500), "serve has %+v", port)
	}
	test := serve.HealthCheck.Test
	address, err := url.Parse(flagValue(test, "--url"))
	p.unless(len(test) > 3 && slices.Equal(test[:3], []string{"CMD", "residual", "doctor"}) && err == nil && address.Port() == "8501" && address.Path == "/readyz", "the health check is %v", test)
	// residual doctor --url waits for five seconds.
	p.unless(serve.HealthCheck.Timeout != nil && time.Duration(*serve.HealthCheck.Timeout) > 5*time.Second, "the health check waits for %v", serve.HealthCheck.Timeout)
	return p
}
