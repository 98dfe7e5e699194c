# residual in a container: docker build -t residual . (CPU) and docker build --target gpu -t residual:gpu .
#
# Base images are pinned by version; pin them by digest with --build-arg DEBIAN=debian@sha256:… and so on.
# Wheels are pinned with their hashes in deploy/docker (make lock), Go modules in go.sum.
ARG PYTHON=python:3.11-slim-bookworm
ARG GO=golang:1.26.8-bookworm
ARG DEBIAN=debian:12.11-slim


# The exporter: Keras and TensorFlow in Python. Hands over the model and the C library.
FROM ${PYTHON} AS export
COPY deploy/docker/cpu.txt /build/
RUN python3 -m venv /venv && /venv/bin/pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check \
	--require-hashes --target /site -r /build/cpu.txt
COPY python_export /build/python_export
ARG RECIPE=keras
ARG WEIGHTS=random
ARG UPSAMPLE=7
ARG CLASSES=10
ARG SEED=0
# More of export's options, such as --build-arg EXPORT_OPTIONS="--loss logits".
ARG EXPORT_OPTIONS=
# Ten classes are CIFAR-10's, by their names.
RUN cd /build && options="--recipe $RECIPE --upsample $UPSAMPLE --weights $WEIGHTS --seed $SEED" \
	&& if [ "$CLASSES" != 10 ]; then options="$options --classes $CLASSES"; fi \
	&& PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/site python3 -m python_export export --out /model $options $EXPORT_OPTIONS


# NVIDIA's libraries and TensorFlow's C library that uses them, as wheels.
FROM ${PYTHON} AS cuda
COPY deploy/docker/gpu.txt /build/
# Less what only Python, or who builds with CUDA, needs.
RUN python3 -m venv /venv && /venv/bin/pip install --quiet --no-cache-dir --no-compile --no-deps --disable-pip-version-check \
		--require-hashes --target /site -r /build/gpu.txt \
	&& find /site/tensorflow -mindepth 1 -maxdepth 1 ! -name 'lib*.so.2' ! -name '*NOTICES*' -exec rm -r {} + \
	&& rm -r /site/nvidia/*/include && find /site -name '*.a' -delete


# The program. Needs TensorFlow's headers, and not yet its library.
FROM ${GO} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY --from=export /site/tensorflow/include /tensorflow/include
COPY . .
ARG COMMIT=
RUN CGO_CFLAGS=-I/tensorflow/include go build -trimpath \
		-ldflags "-s -w -X github.com/residual-go/residual/cli.commit=$COMMIT" -o /program/residual ./cli/residual \
	&& scripts/install.sh --program /program/residual --to /out/usr/local


# The libraries, without what only a debugger reads. /out has what an image gets.
FROM ${GO} AS installer
WORKDIR /src
COPY LICENSE ./
COPY scripts/install.sh scripts/licences.sh scripts/

FROM installer AS cpu-library
RUN --mount=type=bind,from=export,source=/site,target=/site \
	scripts/install.sh --library /site --to /out-library/usr/local

FROM installer AS gpu-library
RUN --mount=type=bind,from=cuda,source=/site,target=/site \
	scripts/install.sh --library /site --to /out-library/usr/local


# What both images have but the program. What changes seldom comes first.
FROM ${DEBIAN} AS runtime
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
RUN install -d -o 10001 -g 10001 /data /runs
COPY --from=export /model /usr/local/share/residual/model
# CIFAR-10 and features are kept in /data, see --data.
ENV XDG_CACHE_HOME=/data
VOLUME /data /runs
USER 10001:10001
EXPOSE 8500 8501
ENTRYPOINT ["residual"]
CMD ["--help"]
LABEL org.opencontainers.image.title="residual" \
	org.opencontainers.image.description="Train, evaluate and serve TensorFlow image classifiers; no Python" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="0.1.0"


FROM runtime AS gpu
COPY --from=gpu-library /out-library/ /
COPY --from=build /out/ /
# Fails where the base image does not run the program or TensorFlow.
RUN ["residual", "doctor"]
# For NVIDIA's container toolkit: compute, and nvidia-smi.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG COMMIT=
# NVIDIA's libraries are under its own terms: /usr/local/share/doc/residual/licences.
LABEL org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-NVIDIA-Proprietary" org.opencontainers.image.revision="${COMMIT}"


# What compose.yaml shows runs with.
FROM ${PYTHON} AS tensorboard
COPY deploy/docker/tensorboard.txt /build/
RUN python3 -m venv /venv \
	&& /venv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes -r /build/tensorboard.txt
USER 10001:10001
EXPOSE 6006
ENTRYPOINT ["/venv/bin/tensorboard", "--bind_all", "--logdir"]
CMD ["/runs"]


# The default.
FROM runtime AS cpu
COPY --from=cpu-library /out-library/ /
COPY --from=build /out/ /
RUN ["residual", "doctor"]
ARG COMMIT=
LABEL org.opencontainers.image.revision="${COMMIT}"
