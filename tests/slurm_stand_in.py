"""Replacements of Slurm's commands that run the submitted script on this machine.

Tasks of an array run one after another. A task that a signal ends is queued again once, as Slurm
does after a node failure; tasks in `dead_tasks` never run and end with the state NODE_FAIL.
"""

import os
from collections.abc import Collection
from pathlib import Path

SBATCH = """#!/usr/bin/env bash
# Stores the submitted script and runs the tasks of its array.
set -um  # each task in a process group of its own, for scancel
cd {state}
cp "$1" script.sh
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' script.sh)
export SLURM_ARRAY_JOB_ID=1 SLURM_ARRAY_TASK_COUNT=$((last + 1)) SLURM_NTASKS=1 SLURM_PROCID=0
export SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_LOCALID=0
run() {
    cd {folder}
    for task in $(seq 0 "$last"); do
        export SLURM_ARRAY_TASK_ID=$task SLURM_JOB_ID=$((task + 2)) SLURM_RESTART_COUNT=0
        if [[ " {dead_tasks} " == *" $task "* ]]; then
            echo NODE_FAIL > {state}/1_$task
            continue
        fi
        echo RUNNING > {state}/1_$task
        bash {state}/script.sh
        if (($? > 128)); then
            SLURM_RESTART_COUNT=1 bash {state}/script.sh
        fi
        (($? == 0)) && echo COMPLETED > {state}/1_$task || echo FAILED > {state}/1_$task
    done
}
for task in $(seq 0 "$last"); do echo PENDING > 1_$task; done
run > batch.log 2>&1 &
echo $! > pid
echo "Submitted batch job 1"
"""
SRUN = """#!/usr/bin/env bash
# Runs a command and appends its output to the given files.
name() { local it=${1//%A/1}; it=${it//%a/$SLURM_ARRAY_TASK_ID}; echo "${it//%t/0}"; }
while [[ $1 == --* ]]; do
    case $1 in
        --output) out=$(name "$2"); shift 2 ;;
        --error) err=$(name "$2"); shift 2 ;;
        *) shift ;;
    esac
done
exec "$@" >> "$out" 2>> "$err"
"""
SACCT = """#!/usr/bin/env bash
# Prints the state of each task.
echo "JobID|State|NodeList"
for task in {state}/1_*; do echo "$(basename "$task")|$(cat "$task")|here"; done
"""
SCANCEL = """#!/usr/bin/env bash
# Ends all tasks.
kill -TERM -- "-$(cat {state}/pid)"
"""


def install(folder: Path, dead_tasks: Collection[int] = ()) -> dict[str, str]:
    """Write the commands into a folder and return the environment variables that find them.

    Args:
        folder: An empty folder; `state/script.sh` will be the submitted script.
        dead_tasks: Numbers of the tasks that never run.
    """
    programs, state = folder / "bin", folder / "state"
    programs.mkdir()
    state.mkdir()
    commands = {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scancel": SCANCEL}
    values = {"state": state, "folder": folder, "dead_tasks": " ".join(map(str, dead_tasks))}
    for name, text in commands.items():
        for key, value in values.items():
            text = text.replace(f"{{{key}}}", str(value))
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
