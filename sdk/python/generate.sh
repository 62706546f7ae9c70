#!/usr/bin/env bash
# Makes the protobuf modules of both Python packages from proto/Protos. Needs grpcio-tools (1.74.x) in $PYTHON.
#
#   PYTHON=path/to/python sdk/python/generate.sh [--check]     --check: only compare with what is committed
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

"$python" -m grpc_tools.protoc -I../../proto --python_out="$out" --pyi_out="$out" \
  Protos/mics_message.proto Protos/mics_hook.proto

# A pool of our own, so that an application may load its own copy of these .proto files beside ours;
# and imports that work inside a package.
sed -i -e 's/_descriptor_pool\.Default()/_pool.POOL/' \
  -e 's/^from google.protobuf import descriptor_pool as _descriptor_pool$/from . import _pool/' \
  -e "s/'Protos\\.[a-z_]*_pb2', _globals/__name__, _globals/" -e 's/^from Protos import/from . import/' "$out"/Protos/*_pb2.py "$out"/Protos/*_pb2.pyi

status=0
put() { # package, module...
  local to="$1/_proto"
  shift
  for file in "$@"; do
    if [ "${MODE:-}" = check ]; then
      cmp "$out/Protos/$file" "$to/$file" || status=1
    else
      cp "$out/Protos/$file" "$to/$file"
    fi
  done
}
[ "${1:-}" = --check ] && MODE=check
put mics-client/src/mics_client mics_message_pb2.py mics_message_pb2.pyi
put mics-hook/src/mics_hook mics_message_pb2.py mics_message_pb2.pyi mics_hook_pb2.py mics_hook_pb2.pyi
exit $status
