"""The collector is as the user had it once a block that pauses it has ended, however blocks overlap."""

import gc
import threading

import pytest

from jsweep._runtime.garbage import collection_paused


@pytest.fixture(params=[True, False])
def was_on(request):
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


def test_the_collector_is_as_it_was_after_nested_blocks_and_errors(was_on):
    with collection_paused():
        with pytest.raises(KeyError), collection_paused():
            raise KeyError("in the inner block")
        assert not gc.isenabled()
    assert gc.isenabled() == was_on


def test_the_collector_stays_off_until_the_last_thread_is_done(was_on):
    inside, leave = threading.Event(), threading.Event()

    def work():
        with collection_paused():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=work)
    with collection_paused():
        thread.start()
        inside.wait(10)
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled() == was_on
