#!/usr/bin/env bash
# Ten jobs that divide one grid: mkdir -p logs && sbatch slurm-array.sh
# They need not start together. A job that is preempted gives back what it was at and, queued again, goes on; after a time
# limit, submit the same once more. `vaesurface status results/digits` says how far it is.
#SBATCH --job-name=vaesurface
#SBATCH --array=1-10
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=logs/%A_%a.out
set -euo pipefail

# source ~/envs/vaesurface/bin/activate

# srun, since it is a job's steps that are told to end some time before they are killed. Where the directory is on a disk
# that shows other machines' files late, or not at all, add: --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
exec srun vaesurface sweep --data digits --latent 2 --alpha 0,0.05,0.1,0.2 --scale 0.1,1 --seeds 50 \
    --memory 8 --out results/digits
