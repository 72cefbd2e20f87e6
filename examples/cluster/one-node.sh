#!/bin/bash
# One node of a cluster, without Dask: sbatch one-node.sh reactions.csv runs/first
# It ends in time and submits itself again as long as something is left (exit code 4).
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300

horm-tssearch "$1" --out "$2" --calculator gfn2-xtb --workers "$SLURM_CPUS_PER_TASK" \
    --walltime 23:00:00
if [ $? -eq 4 ]; then
    sbatch one-node.sh "$1" "$2"
fi
