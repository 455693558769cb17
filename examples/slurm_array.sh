#!/bin/bash
# One participant is one task of a Slurm array. From the folder of this file:
#   n=$(tail -n +2 "$BIDS/participants.tsv" | wc -l)
#   sbatch --export=ALL,BIDS=/data/study,OUT=/data/out --array=1-"$n" slurm_array.sh
#SBATCH --job-name=brainage
#SBATCH --cpus-per-task=2
#SBATCH --mem=6G
#SBATCH --time=00:20:00
#SBATCH --output=brainage-%A_%a.log
set -euo pipefail

label=$(tail -n +2 "$BIDS/participants.tsv" | sed -n "${SLURM_ARRAY_TASK_ID}p" | cut -f 1)

# Scratch on the node's own disk where Slurm gives one; only finished files go to OUT. Tasks may share OUT.
brainage "$BIDS" "$OUT" participant \
    --participant-label "$label" \
    --nprocs 1 --omp-nthreads "$SLURM_CPUS_PER_TASK" \
    --work-dir "${SLURM_TMPDIR:-${TMPDIR:-/tmp}}"
