# The index of habits: `make` lists the targets.

# TensorFlow's version stands here and nowhere else. Another one: make test TF=2.18.1
TF ?= 2.21.0
# The Python that makes .venv: 3.11 to 3.13.
PYTHON ?= python3
# Where make install puts things; DESTDIR stands before it, for those who make packages.
PREFIX ?= /usr/local

export CGO_CFLAGS := -I$(CURDIR)/.venv/tensorflow/include

# What the race detector runs on, and what needs TensorFlow.
PURE := ./internal/... ./tfgo/tensor/... ./tfgo/trace/... ./pipeline/... ./savedmodel/bundle/... ./savedmodel/frozen/...
NATIVE = $(filter-out $(shell go list $(PURE)),$(shell go list ./...))
PY := .venv/bin/python

.PHONY: help venv build quickstart test test-models test-serving race lint fmt golden bench bench-check bench-peers bench-serve soak fuzz test-gpu bench-gpu install dist dist-test docker docker-gpu docker-test docker-test-gpu lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

venv: ## the Python environment with TensorFlow's C library
	@scripts/venv.sh $(TF) $(PYTHON)

build: venv ## bin/residual
	@scripts/build.sh

quickstart: build ## export, train, evaluate, predict on synthetic images
	@scripts/quickstart.sh

test-models: build
	@$(PY) -m python_export.tests.models build/test-models

test: build test-models race ## all tests, Go and Python
	go test -timeout 40m $(NATIVE)
	cd examples/service && go test ./...
	cd deploy && go test ./...
	$(PY) -m pytest -q -n 2 --dist loadfile python_export

race: venv ## the race detector on all that is pure Go
	go test -race $(PURE)

lint: venv ## formats, vet, staticcheck, ruff, import arrows
	@scripts/lint.sh

fmt: venv ## format Go and Python
	gofmt -w . && .venv/bin/ruff format . && .venv/bin/ruff check --fix .

golden: build test-models ## rewrite the golden files
	go test ./cli ./pipeline/callback -update

bench: build ## Go against Python and Keras, in turns (ten minutes)
	@scripts/bench.sh

bench-check: build ## fail if the fast paths have lost their lead over the plain ones (three minutes)
	@scripts/bench_check.sh

bench-peers: build ## Go against Keras, PyTorch, ONNX Runtime, OpenVINO, in turns (an hour; installs 7 GB into build/peers)
	@scripts/bench_peers.sh

bench-serve: build ## residual serve against LitServe, in turns (75 minutes; installs LitServe into build/peers-serve)
	@scripts/bench_serve.sh

# Each of these has a short form in make test.
soak: build test-models ## kill 120 runs, crash in every call of a save, 100,000 steps, 200 loads (half an hour)
	go test ./cli -count=1 -v -timeout 2h -run '^(TestARunSurvivesKills|TestASave.*|TestFilesThatWereChanged|TestALongRunLeavesNothing)$$' \
		-kills 120 -crashes 0 -mutated 0 -leak-steps 100000
	go test ./savedmodel -count=1 -v -timeout 1h -run '^TestLoadsLeaveNothing$$' -loads 200

# Each of these has a short form in make test.
test-serving: build test-models ## 100 swaps under load, 10,000 clients that hang up, 1,000 loads, overload (ten minutes)
	go test ./cli -count=1 -v -timeout 1h -run '^(TestVersionsAreSwappedUnderLoad|TestClientsThatHangUp|TestSIGTERMUnderLoad.*|TestServedVersions.*|TestOverload.*|TestSlow.*)$$' \
		-swaps 100 -hang-ups 10000 -served-loads 950
	$(PY) -m pytest -q python_export/tests/test_serving.py

fuzz: build ## each fuzz target for a minute
	@scripts/fuzz.sh 60s

install: build ## the program, TensorFlow's library, manual page and completions under PREFIX
	@scripts/install.sh --program bin/residual --library "$$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		--to "$(DESTDIR)$(PREFIX)"
	@echo "Installed: $(DESTDIR)$(PREFIX)/bin/residual, lib/residual (TensorFlow's library), share/man, completions, share/doc/residual (licences)"

# On a machine without a GPU those that compare with one are skipped; RESIDUAL_TEST_DEVICE=cpu shows that they themselves are right.
test-gpu: build test-models ## what a GPU computes, against the CPU: float32, TF32, bfloat16, float16, with XLA and without
	go test ./cli ./tfgo -count=1 -v -timeout 1h -run '^(TestGPU.*|TestModelsMoveBetweenDevices|TestXLA|TestDoctor)$$'

bench-gpu: build ## images a second on a GPU in each precision, with XLA and without; RESIDUAL_BENCH_DEVICE=cpu tries it
	@scripts/bench_gpu.sh

dist: build ## an archive that runs on a bare Debian: dist/residual-VERSION-linux-amd64.tar.gz; MODEL=DIR packs that one
	@scripts/dist.sh "$(MODEL)"

dist-test: ## unpack it in a bare Debian and use it (root; debootstrap)
	@scripts/dist_test.sh

docker: ## the image residual:latest, for CPUs (docker, podman or buildah)
	@scripts/docker.sh cpu

docker-gpu: ## the image residual:gpu, for NVIDIA's GPUs
	@scripts/docker.sh gpu

docker-test: venv ## build the image with buildah and use it: train, kill, resume, serve (root; half an hour)
	@scripts/docker_test.sh cpu

docker-test-gpu: venv ## build the GPU image and look for its libraries (root; 40 GB free)
	@scripts/docker_test.sh gpu

lock: venv ## the wheels of the images, with hashes: deploy/docker
	@scripts/lock.sh $(TF)

clean: ## remove what was made, but for .venv
	rm -rf bin build dist
