#!/usr/bin/env bash
# Applies the gateway to the cluster of the current kubectl context, and waits until it is rolled out.
#
#   deploy/k8s/scripts/apply.sh [options]
#     --namespace NAME     into this namespace (default: the context's)
#     --create-namespace   create it first when it is missing
#     --overlay NAME       deploy/overlays/NAME (dev, production) instead of the base
#     --with-ingress       the Ingress too
#     --no-hpa             without the HorizontalPodAutoscaler
#     --with-monitoring    ServiceMonitor and PrometheusRule too (needs the Prometheus Operator)
#
# A missing Secret mics-gateway-secret is made with a random CLUSTER_GRPC_TOKEN (production: make it first).
# Exit status: 0 rolled out, 1 something failed, 2 wrong usage.
set -euo pipefail
source "$(dirname "$0")/options.sh"

if [ "$CREATE" = 1 ] && ! kubectl get namespace "$NAMESPACE" >/dev/null 2>&1; then
  kubectl create namespace "$NAMESPACE"
fi

# The overlay dev brings its own Secret.
if [ "$OVERLAY" != dev ] && ! kubectl "${IN[@]}" get secret mics-gateway-secret >/dev/null 2>&1; then
  if [ "$OVERLAY" = production ]; then
    echo "apply: make the Secret mics-gateway-secret first, see deploy/k8s/gateway.secret.example.yaml" >&2
    exit 1
  fi
  echo "apply: making the Secret mics-gateway-secret with a random CLUSTER_GRPC_TOKEN; it has no TENANT_HOOK_SECRETS, so /auth is not signed"
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n' |
    kubectl "${IN[@]}" create secret generic mics-gateway-secret --from-file=CLUSTER_GRPC_TOKEN=/dev/stdin
fi

kubectl "${IN[@]}" apply --kustomize "$TREE" "${CHOICE[@]}"
if [ "$HPA" = 0 ] && [ "$OVERLAY" != dev ]; then
  # Two nodes, unless somebody has chosen another number already.
  kubectl "${IN[@]}" scale deployment/mics-gateway --current-replicas=1 --replicas=2 2>/dev/null || true
fi
if [ "$MONITORING" = 1 ]; then kubectl "${IN[@]}" apply --kustomize "$K8S/monitoring"; fi
kubectl "${IN[@]}" rollout status deployment/mics-gateway --timeout=300s
