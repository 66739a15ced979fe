#!/bin/bash
# A recipe on Slurm, on JAX: 2 nodes of 8 GPUs, one process to a GPU.
#
#   sbatch docs/launchers/slurm.sh --epochs 100
#
# JAX finds the peers in Slurm's own variables. The run directory and the data are on a file system
# that all nodes see, or each node has the data and the first node keeps the run.

#SBATCH --job-name=cifar10_wrn28_10
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

export KERAS_BACKEND=jax
: "${RECIPE:=cifar10_wrn28_10}"
: "${RUN_DIR:=runs/$RECIPE-slurm}"

srun --kill-on-bad-exit=1 python "recipes/$RECIPE.py" \
    --strategy multi-host --run-dir "$RUN_DIR" --resume "$@"
status=$?

# 143: asked to stop, with the state saved; 137: killed; 75, and 134 by JAX itself: one was lost.
if [[ " 143 137 134 75 " == *" $status "* ]] && (( ${SLURM_RESTART_COUNT:-0} < 20 )); then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit $status
