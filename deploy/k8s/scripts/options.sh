# Options of apply.sh and delete.sh, to be sourced. Sets TREE (folder to render), IN (namespace, for kubectl), CHOICE (selector,
# for kubectl), and NAMESPACE, OVERLAY, CREATE, MONITORING. Wrong usage: the text at the head of the caller, exit status 2.
# shellcheck shell=bash disable=SC2034
K8S=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p;}' "$0" >&2
  exit 2
}

NAMESPACE='' CREATE=0 OVERLAY='' INGRESS=0 HPA=1 MONITORING=0
while [ $# -gt 0 ]; do
  case $1 in
    --namespace | --overlay) [ -n "${2:-}" ] || usage ;;
  esac
  case $1 in
    --namespace) NAMESPACE=$2; shift ;;
    --create-namespace) [[ $0 == *apply.sh ]] || usage; CREATE=1 ;;
    --overlay) OVERLAY=$2; shift ;;
    --with-ingress) INGRESS=1 ;;
    --no-hpa) HPA=0 ;;
    --with-monitoring) MONITORING=1 ;;
    *) usage ;;
  esac
  shift
done
[ "$CREATE" = 0 ] || [ -n "$NAMESPACE" ] || usage

TREE=$K8S
if [ -n "$OVERLAY" ]; then TREE=$K8S/../overlays/$OVERLAY; fi
[ -e "$TREE/kustomization.yaml" ] || usage
command -v kubectl >/dev/null || { echo "kubectl is missing" >&2; exit 1; }

IN=()
if [ -n "$NAMESPACE" ]; then IN=(--namespace "$NAMESPACE"); fi
LEFT_OUT=()
if [ "$INGRESS" = 0 ]; then LEFT_OUT+=(ingress); fi
if [ "$HPA" = 0 ]; then LEFT_OUT+=(hpa); fi
CHOICE=()
if [ "${#LEFT_OUT[@]}" -gt 0 ]; then CHOICE=(--selector "mics/part notin ($(IFS=,; echo "${LEFT_OUT[*]}"))"); fi
