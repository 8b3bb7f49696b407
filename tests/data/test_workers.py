import os
import time

import pytest

from melanoma.data.workers import open_pool
from melanoma.errors import WorkerError
from melanoma.processes import count_workers

MANY, FEW = 8, 2


def test_few_jobs_stay_in_this_process():
    with open_pool(FEW) as pool:
        assert pool.submit(os.getpid).result() == os.getpid()


@pytest.mark.timeout(60)
@pytest.mark.skipif(count_workers(2) < 2, reason="one core: no processes are started")
class TestProcesses:
    def test_many_jobs_run_elsewhere(self):
        with open_pool(MANY) as pool:
            assert os.getpid() not in {pool.submit(os.getpid).result() for _ in range(MANY)}

    def test_a_killed_process_is_one_clear_line(self):
        with (
            pytest.raises(WorkerError, match="was killed, most likely for want of memory"),
            open_pool(MANY) as pool,
        ):
            pool.submit(os._exit, 3).result()

    def test_an_interrupt_does_not_wait_for_what_runs(self):
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            sleep_and_interrupt()
        assert time.monotonic() - began < 30


def sleep_and_interrupt():
    with open_pool(MANY) as pool:
        pool.submit(os.getpid).result()
        for _ in range(MANY):
            pool.submit(time.sleep, 60)
        raise KeyboardInterrupt
