#!/usr/bin/env bash
# What tools/slurm_train.sh puts into Slurm's queue: a command for srun. Signals are passed on to it. After Slurm's
# warning that the time is nearly over (SIGUSR1) the training saves and ends with 138, and the job is queued again.
set -u
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" "$@" &
job=$!
trap 'kill -USR1 $job' USR1
trap 'kill -TERM $job' TERM
wait $job
status=$?
while kill -0 $job 2> /dev/null; do  # a signal has ended the waiting alone
    wait $job
    status=$?
done
if [ $status = 138 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $status
