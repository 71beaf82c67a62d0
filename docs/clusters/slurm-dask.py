"""A sweep by workers that are jobs of Slurm: python slurm-dask.py, where sbatch can be called.

pip install '.[cluster]' dask-jobqueue. This process has to live while it lasts; run it
again with the same directory to go on.
"""

import jax
from dask_jobqueue import SLURMCluster
from distributed import Client

from vaesurface import data, optimize, stationary, store, sweep, vae

jax.config.update("jax_enable_x64", True)
X = data.load("digits")
GRID = {"alpha": [0.0, 0.05, 0.1, 0.2], "scale": [0.1, 1.0], "seed": range(50)}
JOB = {
    "cores": 1,  # of a job, which is one worker of one thread: XLA uses more by itself
    "job_cpu": 4,
    "memory": "8GB",
    "walltime": "04:00:00",
    # A worker that knows its end hands back its work before it is killed.
    "worker_extra_args": ["--lifetime", "225m", "--lifetime-stagger", "10m"],
    "job_extra_directives": ["--requeue"],
    # "job_script_prologue": ["source ~/envs/vaesurface/bin/activate"],
    "log_directory": "logs",
}
JOBS = 10


def run(alpha, scale, seed):
    """One start; X travels to each worker once."""
    problem = vae.threshold_vae(X, latent=2, alpha=alpha)
    return stationary.find(problem, jax.random.key(seed), scale, optimize.adam())


if __name__ == "__main__":
    with SLURMCluster(**JOB) as jobs, Client(jobs) as client:
        jobs.scale(jobs=JOBS)
        client.wait_for_workers(1)  # as long as the queue takes; those that come later join in
        results = store.create("results/digits-dask", X, latent=2)
        sweep.fill(run, store=results, executor=client.get_executor(), **GRID)
