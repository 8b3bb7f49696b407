import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from melanoma.errors import RefusalError
from melanoma.serving.pool import Job, Pool


class Work:
    """Doubles numbers, a batch at a time; the number 0 waits until it is let go, 13 cannot be done."""

    def __init__(self):
        self.batches = []
        self.begun, self.go = threading.Event(), threading.Event()

    def double(self, numbers):
        self.batches.append(list(numbers))
        if numbers[0] == 0:
            self.begun.set()
            assert self.go.wait(20)
        if 13 in numbers:
            raise ValueError("13")
        return [2 * number for number in numbers]


@pytest.fixture
def start():
    """A function that starts a pool."""
    pools = []

    def start_pool(work, batch, workers=1):
        pool = Pool(workers, 100, batch)
        pools.append((pool, work))
        return pool

    yield start_pool
    for pool, work in pools:
        work.go.set()
        pool.close()


def ask(pool, jobs, seconds=20.0):
    """The results of one request."""

    async def run():
        return await pool.run(jobs, seconds, asyncio.Event().wait())

    return asyncio.run(run())


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come")


def submit_in_turn(clients, pool, work, numbers):
    """Requests of one number each, which wait behind a first one that is in hand."""
    first, others = clients.submit(ask, pool, [Job(work.double, 0)]), []
    assert work.begun.wait(10)
    for number in numbers:
        others.append(clients.submit(ask, pool, [Job(work.double, number)]))
        wait_for(lambda: pool.waiting == len(others) + 1)
    return first, others


def test_what_waits_of_several_requests_is_done_together(start):
    work = Work()
    pool = start(work, 3)
    with ThreadPoolExecutor(8) as clients:
        first, others = submit_in_turn(clients, pool, work, range(1, 6))
        work.go.set()
        assert first.result() == [0]
        assert [one.result() for one in others] == [[2], [4], [6], [8], [10]]
    assert work.batches == [[0], [1, 2, 3], [4], [5]]  # too few for a batch do not wait for more
    assert pool.waiting == 0


def test_two_kinds_of_work_are_not_done_together(start):
    work, other = Work(), Work()
    pool = start(work, 4)
    jobs = [
        Job(work.double, 0),
        Job(work.double, 1),
        Job(other.double, 2),
        Job(work.double, 3),
        Job(work.double, 4),
    ]
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(ask, pool, jobs)
        assert work.begun.wait(10)
        work.go.set()
        assert answer.result() == [0, 2, 4, 6, 8]
    assert work.batches[0][0] == 0
    assert other.batches == [[2]]


def test_a_job_that_fails_takes_no_other_with_it(start):
    work = Work()
    pool = start(work, 3)
    with ThreadPoolExecutor(4) as clients:
        first, asked = submit_in_turn(clients, pool, work, (1, 13, 2))
        work.go.set()
        assert [first.result(), asked[0].result(), asked[2].result()] == [[0], [2], [4]]
        with pytest.raises(ValueError, match="13"):
            asked[1].result()
    assert work.batches[1:] == [[1, 13, 2], [1], [13], [2]]
    assert pool.waiting == 0


def test_what_nobody_waits_for_is_left_out_of_a_batch(start):
    work = Work()
    pool = start(work, 2)
    with ThreadPoolExecutor(4) as clients:
        first, _ = submit_in_turn(clients, pool, work, ())
        with pytest.raises(RefusalError, match="not done within"):
            ask(pool, [Job(work.double, 1), Job(work.double, 2)], seconds=0.05)
        last = clients.submit(ask, pool, [Job(work.double, 3), Job(work.double, 4)])
        wait_for(lambda: pool.waiting == 3)
        work.go.set()
        assert [first.result(), last.result()] == [[0], [6, 8]]
    assert work.batches == [[0], [3, 4]]


def test_every_thread_gets_its_share_before_batches_are_made(start):
    work = Work()
    pool = start(work, 2, workers=3)
    assert ask(pool, [Job(work.double, number) for number in range(1, 4)]) == [2, 4, 6]
    assert sorted(work.batches) == [[1], [2], [3]]
