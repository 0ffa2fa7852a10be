#!/usr/bin/env bash
# Trains on several GPU hosts by plain ssh, one process a host, which takes all its GPUs:
#   HOSTS="gpu1 gpu2" launch/tpu/ssh.sh --config configs/f1c1m5_d_corpus.py --workdir /shared/run ...
# The repository lies at the same path on each host. The first one coordinates, at PORT (8476).
set -euo pipefail
[ $# -ge 1 ] && [ -n "${HOSTS:-}" ] || { echo "usage: HOSTS=\"a b\" $0 ARGUMENTS OF launch.train" >&2; exit 2; }
read -ra hosts <<< "$HOSTS"
arguments=$(printf '%q ' "$@")
running=()
for place in "${!hosts[@]}"; do
  command="cd $(printf '%q' "$PWD") && exec ${PYTHON:-python} -m launch.train --distributed"
  command+=" --coordinator=${hosts[0]}:${PORT:-8476} --hosts=${#hosts[@]} --host=$place $arguments"
  # A terminal on the other side, so that Ctrl-C reaches the run.
  ssh -tt "${hosts[place]}" "$command" < /dev/null 2>&1 | sed -u "s/^/${hosts[place]}: /" &
  running+=($!)
done
status=0
for one in "${running[@]}"; do
  wait "$one" || status=$?
done
exit $status
