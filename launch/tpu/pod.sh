#!/usr/bin/env bash
# Trains on all hosts of a TPU pod slice:
#   launch/tpu/pod.sh NAME ZONE --config configs/f1c1m5_d_corpus.py --workdir gs://BUCKET/run ...
# The repository lies in ~/urgentmos_jax on each host, installed by `pip install -e ".[tpu,train]"`.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: $0 NAME ZONE ARGUMENTS OF launch.train" >&2; exit 2; }
name=$1 zone=$2
shift 2
command="cd urgentmos_jax && python -m launch.train --distributed $(printf '%q ' "$@")"
exec gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker=all --command "$command"
