"""Jobs as an array of a Slurm cluster, through submitit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .jobs import Slot, run_job
from .plan import Job

_FOLDER = 'slurm'


class _Task:
    """A job that a cluster runs; it is put back into the queue at its limit.

    Args:
        job: What to run.
        slot: What it may use.
    """

    def __init__(self, job: Job, slot: Slot) -> None:
        self.job = job
        self.slot = slot

    def __call__(self) -> None:
        run_job(self.job, self.slot)

    def checkpoint(self, *_: Any) -> Any:
        """What submitit submits when the time is over: the same once more.

        It resumes from the last checkpoint.
        """
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def submit(
    jobs: Sequence[Job],
    root: Path,
    cluster: str = 'slurm',
    *,
    processes: int = 1,
    gpus: bool = True,
    minutes: int = 24 * 60,
    partition: str | None = None,
    parallel: int = 16,
    requeues: int = 10,
    parameters: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Submit jobs as one array.

    Every job runs on one node; with several processes `torchrun` starts them
    there and chooses a free port, so that jobs on one node don't collide.

    Args:
        jobs: What to run.
        root: The logs are in ``slurm`` below it.
        cluster: ``slurm``, or ``local``: on this machine, all at once.
        processes: Of a training, a GPU each.
        gpus: Ask for GPUs.
        minutes: Time limit; a job that reaches it is put back into the queue
            and resumes.
        partition: Of the cluster; None: its default.
        parallel: How many run at the same time.
        requeues: How often a job is put back into the queue.
        parameters: Further options of ``sbatch``, e.g. ``account``.

    Returns:
        list: A job of submitit for each.

    Raises:
        ImportError: submitit is not installed.
        RuntimeError: This machine has no ``srun``.
    """
    try:
        import submitit
    except ImportError as error:
        raise ImportError(
            "submitit is not installed: pip install 'mmdet_assigners[slurm]'"
        ) from error
    executor = submitit.AutoExecutor(
        root / _FOLDER, cluster=cluster, slurm_max_num_timeout=requeues
    )
    executor.update_parameters(
        name='mmdet-assigners',
        timeout_min=minutes,
        nodes=1,
        tasks_per_node=1,
        gpus_per_node=processes if gpus else 0,
        cpus_per_task=4 * processes,
        slurm_array_parallelism=parallel,
        slurm_additional_parameters=dict(parameters or {}),
        **({'slurm_partition': partition} if partition else {}),
    )
    slot = Slot(processes, wait=False)
    with executor.batch():
        return [executor.submit(_Task(job, slot)) for job in jobs]
