// Package deploy holds what runs residual in containers: lists of wheels for the
// Dockerfile, manifests for Kubernetes, a variant of compose.yaml. Its tests read them
// as those who take them do. It is a module of its own, so that nobody who uses
// residual gets Kubernetes's types.
package deploy
