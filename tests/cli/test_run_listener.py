import signal

import pytest

from conftest import require_extra

require_extra("tensorflow", "train")

from melanoma.cli.run_listener import RunListener


class Swallows:
    """A finaliser in whose middle Ctrl-C comes; Python reports what is raised there, and goes on."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_a_finaliser_swallows_stops_the_next_batch():
    listener, before = RunListener(), signal.getsignal(signal.SIGINT)
    with listener.heeding_ctrl_c():
        listener.on_batch(0, 1, 2, {})
        Swallows()
        with pytest.raises(KeyboardInterrupt):
            listener.on_batch(0, 2, 2, {})
    listener.close()
    assert signal.getsignal(signal.SIGINT) is before


def test_where_ctrl_c_is_ignored_it_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with RunListener().heeding_ctrl_c():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
