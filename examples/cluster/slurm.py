"""`horm-tssearch` with workers in jobs of SLURM.

    pip install dask-jobqueue
    python slurm.py reactions.csv --out runs/first --calculator gfn2-xtb
    python slurm.py --gpu reactions.csv --out runs/second

Run it on a login node, or in a small job of its own: it starts the scheduler, submits the jobs of
the workers, and passes everything else on to `horm-tssearch`. Change what your cluster names
otherwise.
"""

from __future__ import annotations

import sys

from dask_jobqueue import SLURMCluster

from reactbench_runner.commands.tssearch import main

#: Jobs that are submitted at once.
JOBS = 20

#: A job of sixteen workers with one core each.
CPU = {
    "queue": "standard",
    "cores": 16,
    "processes": 16,
    "memory": "32GB",
}

#: A job of one worker with a GPU of its own.
GPU = {
    "queue": "gpu",
    "cores": 1,
    "processes": 1,
    "memory": "16GB",
    "job_extra_directives": ["--gres=gpu:1"],
}

#: Workers end by themselves, at different times, before SLURM ends them. Their searches go on
#: elsewhere.
BOTH = {
    "walltime": "24:00:00",
    "worker_extra_args": ["--memory-limit", "0", "--lifetime", "23h", "--lifetime-stagger", "30m"],
}

if __name__ == "__main__":
    arguments = [word for word in sys.argv[1:] if word != "--gpu"]
    job = GPU if "--gpu" in sys.argv else CPU
    with SLURMCluster(**job, **BOTH) as cluster:
        cluster.scale(jobs=JOBS)
        sys.exit(main([*arguments, "--dask", cluster.scheduler_address]))
