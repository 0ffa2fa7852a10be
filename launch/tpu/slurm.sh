#!/usr/bin/env bash
# Trains on several GPU hosts under Slurm, one task a GPU:
#   sbatch --nodes=2 launch/tpu/slurm.sh --config configs/f1c1m5_d_corpus.py --workdir /shared/run ...
# Slurm sends SIGTERM two minutes before the end of the time: the run saves, ends with 143, and is queued again.
#SBATCH --job-name=urgentmos
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail
[ $# -ge 1 ] || { echo "usage: sbatch $0 ARGUMENTS OF launch.train" >&2; exit 2; }
# --wait: what is saved when one task has ended is saved by all.
srun --kill-on-bad-exit=0 --wait=60 python -m launch.train --distributed "$@"
status=$?
if [ $status -eq 143 ]; then
  exec scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
