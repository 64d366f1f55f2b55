#!/bin/bash
#SBATCH --job-name=warming
#SBATCH --output=%x-%j.out
#SBATCH --open-mode=append
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue

# Five minutes before the hour is over, Slurm sends SIGUSR1 to this shell (B:). The run then finishes the visit in
# flight, saves and ends with exit code 75, and the job goes back into the queue, under the same job id.

member=${SLURM_ARRAY_TASK_ID:-1}
run_id=${RUN_ID:-warming-${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}-$member}

# The file store is safe on network file systems. --wait: a node that broke down cannot say that it gave the run up;
# others may take the run once its lease has not been renewed for 60 seconds.
srun --ntasks=1 python -m tau run examples/slurm/pipeline.py:graph --set member="$member" \
    --run-id "$run_id" --if-exists resume --store file:runs --wait 90 &
run=$!

out_of_time=
trap 'out_of_time=yes; kill -USR1 "$run"' USR1

wait "$run"
code=$?
if [ -n "$out_of_time" ]; then # the signal ended the wait, not the run
    wait "$run"
    code=$?
fi

# Only what ran out of time: a job that was ended by scancel stays ended.
if [ -n "$out_of_time" ] && [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
