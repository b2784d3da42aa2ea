"""Tasks that are worked off side by side."""

import sys
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from ..experiments import stop_children

Task = TypeVar('Task', bound=Hashable)
Slot = TypeVar('Slot')


def work_off(
    missing: Callable[[], Iterable[Task]],
    run: Callable[[Task, Slot], None],
    slots: Sequence[Slot],
) -> dict[Task, str]:
    """Run tasks until none is missing, one at a time in each slot.

    A task that fails doesn't stop the others. When this is interrupted, the
    processes of `experiments.call` end.

    Args:
        missing: Gives the tasks that can start, best first. It is asked
            again before each start, so one task may bring up others.
        run: Runs a task in a slot. It raises RuntimeError, OSError or
            ValueError if the task fails.
        slots: What a task needs, e.g. GPUs.

    Returns:
        dict: Task that failed -> why.
    """
    changed = threading.Condition()
    running: set[Task] = set()
    failed: dict[Task, str] = {}
    ended = False

    def take() -> Task | None:
        with changed:
            while not ended:
                for task in missing():
                    if task not in running and task not in failed:
                        running.add(task)
                        return task
                if not running:
                    return None
                changed.wait()
            return None

    def work(slot: Slot) -> None:
        while (task := take()) is not None:
            try:
                run(task, slot)
            except (RuntimeError, OSError, ValueError) as error:
                failed[task] = str(error)
                print(error, file=sys.stderr, flush=True)
            finally:
                with changed:
                    running.discard(task)
                    changed.notify_all()

    with ThreadPoolExecutor(len(slots)) as pool:
        workers = [pool.submit(work, slot) for slot in slots]
        try:
            for worker in wait(workers, return_when=FIRST_EXCEPTION).done:
                worker.result()
        finally:
            # also on Ctrl-C and SIGTERM: nothing new starts
            ended = True
            stop_children()
            with changed:
                changed.notify_all()
    return failed
