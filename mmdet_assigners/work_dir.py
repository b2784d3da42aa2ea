"""The folder of a training: one run at a time, and nothing is lost."""

import os
from pathlib import Path

from filelock import FileLock, Timeout

_LOCK = '.lock'


def is_free(work_dir: str | Path, seconds: float) -> bool:
    """Whether no training uses a folder, after waiting for it to end."""
    lock = FileLock(Path(work_dir) / _LOCK)
    try:
        with lock.acquire(seconds):
            return True
    except Timeout:
        return False


def claim(work_dir: str | Path, resume: bool) -> FileLock | None:
    """Claim a work folder for this process, until it ends.

    In distributed training the first process claims it for all.

    Args:
        work_dir: The folder; it is created.
        resume: Whether the training resumes what is in it.

    Returns:
        FileLock: Held while it is referenced. The kernel releases it when the
        process dies, however it dies. None in the other processes.

    Raises:
        OSError: Another process trains there, or the folder can't be written.
        FileExistsError: It holds checkpoints and ``resume`` is False.
    """
    if int(os.environ.get('RANK', '0')) > 0:
        return None
    folder = Path(work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BlockingIOError(
            f'another process trains in {folder}; choose another --work-dir'
        ) from None
    saved = [*folder.glob('epoch_*.pth'), *folder.glob('iter_*.pth')]
    if saved and not resume:
        lock.release()
        raise FileExistsError(
            f'{folder} holds checkpoints of an earlier training '
            f'({saved[0].name}); add --resume, or choose another --work-dir'
        )
    return lock
