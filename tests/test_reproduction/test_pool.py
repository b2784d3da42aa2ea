import threading
import time

import pytest

from mmdet_assigners.reproduction.pool import work_off


def test_every_task_once_in_slots():
    tasks, done, slots = list(range(20)), [], set()

    def run(task, slot):
        slots.add(slot)
        time.sleep(0.001)
        done.append(task)

    def missing():
        return [task for task in tasks if task not in done]

    assert work_off(missing, run, ['a', 'b', 'c']) == {}
    assert sorted(done) == tasks and slots == {'a', 'b', 'c'}


def test_a_slot_has_one_task_at_a_time():
    active, most, done = {'a': 0, 'b': 0}, [], []

    def run(task, slot):
        active[slot] += 1
        most.append(active[slot])
        time.sleep(0.001)
        active[slot] -= 1
        done.append(task)

    work_off(lambda: [t for t in range(9) if t not in done], run, ['a', 'b'])
    assert set(most) == {1}


def test_a_failure_stops_no_other(capsys):
    done = []

    def run(task, _slot):
        if task == 1:
            raise RuntimeError('no memory')
        done.append(task)

    failed = work_off(lambda: [t for t in range(4) if t not in done], run, [0])
    assert failed == {1: 'no memory'} and done == [0, 2, 3]
    assert capsys.readouterr().err == 'no memory\n'


def test_a_task_may_bring_up_others():
    done = []
    after = {0: [1], 1: [2, 3]}

    def missing():
        ready = [0, *(t for d in done for t in after.get(d, []))]
        return [task for task in ready if task not in done]

    # the second worker waits until there is something to do
    assert work_off(missing, lambda t, _: done.append(t), [0, 1]) == {}
    assert done[:2] == [0, 1] and sorted(done) == [0, 1, 2, 3]


def test_an_unexpected_error_ends_the_others():
    started = threading.Event()
    done = []

    def run(task, _slot):
        if task == 0:
            started.wait(5)
            raise KeyError('a mistake')
        started.set()
        time.sleep(0.01)
        done.append(task)

    with pytest.raises(KeyError, match='a mistake'):
        work_off(lambda: [t for t in range(99) if t not in done], run, [0, 1])
    assert len(done) < 98
