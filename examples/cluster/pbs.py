"""`horm-tssearch` with workers in jobs of PBS. As slurm.py, see there.

python pbs.py reactions.csv --out runs/first --calculator gfn2-xtb
python pbs.py --gpu reactions.csv --out runs/second
"""

from __future__ import annotations

import sys

from dask_jobqueue import PBSCluster

from reactbench_runner.commands.tssearch import main

#: Jobs that are submitted at once.
JOBS = 20

#: A job of sixteen workers with one core each.
CPU = {
    "queue": "workq",
    "cores": 16,
    "processes": 16,
    "memory": "32GB",
    "resource_spec": "select=1:ncpus=16:mem=32gb",
}

#: A job of one worker with a GPU of its own.
GPU = {
    "queue": "gpuq",
    "cores": 1,
    "processes": 1,
    "memory": "16GB",
    "resource_spec": "select=1:ncpus=4:ngpus=1:mem=16gb",
}

#: Workers end by themselves, at different times, before PBS ends them. Their searches go on
#: elsewhere.
BOTH = {
    "walltime": "24:00:00",
    "worker_extra_args": ["--memory-limit", "0", "--lifetime", "23h", "--lifetime-stagger", "30m"],
}

if __name__ == "__main__":
    arguments = [word for word in sys.argv[1:] if word != "--gpu"]
    job = GPU if "--gpu" in sys.argv else CPU
    with PBSCluster(**job, **BOTH) as cluster:
        cluster.scale(jobs=JOBS)
        sys.exit(main([*arguments, "--dask", cluster.scheduler_address]))
