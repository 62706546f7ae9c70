#!/usr/bin/env bash
# Deletes what apply.sh applied. Nodes leave in order (close code 4200). The Secret that apply.sh made and the namespace stay.
#
#   deploy/k8s/scripts/delete.sh [options]
#     --namespace NAME     from this namespace (default: the context's)
#     --overlay NAME       deploy/overlays/NAME (dev, production) instead of the base
#     --with-ingress       the Ingress too
#     --no-hpa             leave the HorizontalPodAutoscaler
#     --with-monitoring    ServiceMonitor and PrometheusRule too
#
# Exit status: 0 deleted or not there, 1 something failed, 2 wrong usage.
set -euo pipefail
source "$(dirname "$0")/options.sh"

if [ "$MONITORING" = 1 ]; then kubectl "${IN[@]}" delete --ignore-not-found --kustomize "$K8S/monitoring"; fi
kubectl "${IN[@]}" delete --ignore-not-found --kustomize "$TREE" "${CHOICE[@]}"
