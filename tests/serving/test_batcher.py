"""Many threads, one judge: everybody gets their own result, whatever the batches were."""

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cac.serving.batcher import Batcher

few = settings(max_examples=25, deadline=None)


@few
@given(st.lists(st.integers(0, 99), max_size=30), st.integers(1, 8), st.sampled_from([0.0, 0.005]))
def test_each_item_gets_its_own_result_in_batches_no_larger_than_allowed(items, size, wait):
    sizes = []

    def judge(batch):
        sizes.append(len(batch))
        return [10 * item for item in batch]

    batcher = Batcher(judge, size, wait)
    with ThreadPoolExecutor(4) as clients:
        results = list(clients.map(lambda item: batcher.submit(item).result(), items))
    batcher.close()
    assert results == [10 * item for item in items]
    assert sum(sizes) == len(items)
    assert all(1 <= one <= size for one in sizes)
    assert not batcher.alive


def test_what_waits_while_the_model_works_is_one_batch():
    begun, go_on, batches = threading.Event(), threading.Event(), []

    def judge(batch):
        batches.append(list(batch))
        begun.set()
        go_on.wait()
        return batch

    batcher = Batcher(judge, 4, 0.0)
    first = batcher.submit(0)
    begun.wait()
    futures = [batcher.submit(i) for i in range(1, 6)]
    futures[1].cancel()
    assert batcher.waiting == 5
    go_on.set()
    assert first.result() == 0
    assert futures[-1].result() == 5
    batcher.close()
    assert batches == [[0], [1, 3, 4], [5]], "who no longer wants an answer is not judged"


def test_what_nobody_waits_for_any_more_is_let_go_at_once():
    """A decoded video may hold much memory, and the model may be at work for long before it comes to it."""

    class Large:
        pass

    begun, go_on = threading.Event(), threading.Event()

    def judge(batch):
        begun.set()
        go_on.wait()
        return batch

    batcher = Batcher(judge, 1, 0.0)
    batcher.submit(None)
    begun.wait()
    large = Large()
    held, future = weakref.ref(large), batcher.submit(large)
    del large
    assert held() is not None
    future.cancel()
    assert held() is None
    go_on.set()
    batcher.close()


def test_one_bad_item_spoils_no_other():
    def judge(batch):
        if 0 in batch:
            raise ZeroDivisionError
        return [1 / item for item in batch]

    batcher = Batcher(judge, 8, 0.05)
    futures = [batcher.submit(item) for item in (1, 0, 2)]
    assert (futures[0].result(), futures[2].result()) == (1, 0.5)
    with pytest.raises(ZeroDivisionError):
        futures[1].result()
    batcher.close()


def test_closing_answers_what_was_submitted_before():
    batcher = Batcher(lambda batch: list(batch), 2, 5.0)
    futures = [batcher.submit(i) for i in range(5)]
    batcher.close()
    assert [future.result(timeout=0) for future in futures] == list(range(5))
