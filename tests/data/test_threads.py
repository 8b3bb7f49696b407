import threading

import pytest

from conftest import require_extra

require_extra("pandas", "bench")

from melanoma.data.threads import map_jobs, map_lazily
from melanoma.processes import count_cores


def test_results_come_in_order_with_their_progress():
    seen = []
    assert map_jobs(lambda job: job * 2, range(5), lambda *at: seen.append(at)) == [0, 2, 4, 6, 8]
    assert seen == [(done, 5) for done in range(1, 6)]


def test_who_stops_early_waits_only_for_jobs_in_hand(monkeypatch):
    monkeypatch.setattr("melanoma.data.threads.count_cores", lambda: 1)
    begun, stopped = [], threading.Event()

    def work(job):
        begun.append(job)
        assert job == 0 or stopped.wait(10)

    def stop(*_):
        stopped.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        map_jobs(work, range(1000), stop)
    assert len(begun) < 1000


def test_jobs_are_made_only_as_they_are_needed():
    made = []

    def make():
        for job in range(100):
            made.append(job)
            yield job

    results = map_lazily(lambda job: -job, make())
    assert [next(results) for _ in range(3)] == [0, -1, -2]
    assert len(made) < 3 + 2 * count_cores() + 2
    assert list(results) == [-job for job in range(3, 100)]
