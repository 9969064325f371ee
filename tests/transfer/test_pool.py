"""The pool never holds more than it may, never starves anybody, and every wait ends."""

from __future__ import annotations

import threading
import time

import pytest

from ecogsafe.transfer.parts import MIB
from ecogsafe.transfer.pool import PartPool, PooledPart
from ecogsafe.transfer.senders import Senders


class Keeper:
    def __init__(self) -> None:
        self.asked = threading.Event()
        self.parts: list[PooledPart] = []

    def detach_if_stalled(self) -> None:
        self.asked.set()
        for part in self.parts:
            part.drop(self)


def never() -> bool:
    return False


def test_room_is_counted_and_waited_for() -> None:
    pool = PartPool(100)
    assert pool.acquire(60, give_up=never)
    assert pool.acquire(40, give_up=never)
    entered = threading.Event()

    def third() -> None:
        assert pool.acquire(50, give_up=never)
        entered.set()

    waiting = threading.Thread(target=third)
    waiting.start()
    assert not entered.wait(0.05)
    pool.release(40)
    assert not entered.wait(0.05)
    pool.release(60)
    waiting.join(5)
    assert entered.is_set()
    assert (pool.used, pool.peak) == (50, 100)


def test_a_part_larger_than_the_pool_enters_alone_and_is_not_starved() -> None:
    pool = PartPool(100)
    assert pool.acquire(60, give_up=never)
    order: list[str] = []

    def enter(name: str, size: int) -> None:
        assert pool.acquire(size, give_up=never)
        order.append(name)
        pool.release(size)

    large = threading.Thread(target=enter, args=("large", 250))
    large.start()
    while not pool._queue:
        time.sleep(0.001)
    small = [threading.Thread(target=enter, args=("small", 10)) for _ in range(3)]
    for thread in small:
        thread.start()
    time.sleep(0.05)
    assert order == []
    pool.release(60)
    for thread in (large, *small):
        thread.join(5)
    assert order == ["large", "small", "small", "small"]
    assert (pool.used, pool.peak) == (0, 250)


def test_a_wait_can_be_given_up_and_lets_the_next_one_in() -> None:
    pool = PartPool(100)
    assert pool.acquire(90, give_up=never)
    stop = threading.Event()
    results: list[bool] = []
    first = threading.Thread(target=lambda: results.append(pool.acquire(50, give_up=stop.is_set)))
    first.start()
    while not pool._queue:
        time.sleep(0.001)
    second = threading.Thread(target=lambda: results.append(pool.acquire(10, give_up=never)))
    second.start()
    stop.set()
    first.join(5)
    second.join(5)
    assert sorted(results) == [False, True]
    assert pool.used == 100


def test_a_part_goes_back_when_its_last_holder_is_through() -> None:
    pool = PartPool(100)
    pool.acquire(4, give_up=never)
    one, two, stranger = Keeper(), Keeper(), Keeper()
    part = PooledPart(pool, b"body", [one, two])
    assert part.body_for(one) == part.body_for(two) == b"body"
    assert part.body_for(stranger) is None
    part.drop(one)
    part.drop(one)
    part.drop(stranger)
    assert part.body_for(one) is None
    assert pool.used == 4
    part.drop(two)
    assert pool.used == 0


def test_who_waits_asks_the_holders_to_let_go() -> None:
    pool = PartPool(4)
    keeper = Keeper()
    pool.acquire(4, give_up=never)
    keeper.parts.append(PooledPart(pool, b"body", [keeper]))
    assert pool.acquire(3, give_up=never)
    assert keeper.asked.is_set()


def test_a_store_that_hangs_takes_no_thread_from_another() -> None:
    hang = threading.Event()
    with Senders(2) as senders:
        stuck = [senders.submit("a", hang.wait) for _ in range(5)]
        assert senders.submit("b", lambda: 7).result(timeout=5) == 7
        assert not any(future.done() for future in stuck)
        hang.set()
    assert all(future.done() for future in stuck)


def test_an_exception_of_a_request_stays_with_its_future() -> None:
    def fail() -> None:
        raise ValueError("no")

    with Senders(1) as senders:
        future = senders.submit("a", fail)
    with pytest.raises(ValueError, match="no"):
        future.result()


def test_who_has_begun_a_part_goes_first_and_never_waits_for_himself() -> None:
    """A file with two lanes keeps room for a part of one while it waits for the other's: nobody else can end that."""
    pool = PartPool(100)
    assert pool.acquire(90, give_up=never)
    keeper = Keeper()
    part = PooledPart(pool, b"x" * 90, [keeper])
    order: list[str] = []

    def enter(name: str, *, has_begun: bool) -> None:
        assert pool.acquire(80, give_up=never, has_begun=has_begun)
        order.append(name)
        if not has_begun:
            pool.release(80)

    waiting = threading.Thread(target=enter, args=("new",), kwargs={"has_begun": False})
    waiting.start()
    while not pool._queue:
        time.sleep(0.001)
    begun = threading.Thread(target=enter, args=("begun",), kwargs={"has_begun": True})
    begun.start()
    time.sleep(0.05)
    assert order == []
    part.drop(keeper, is_through=True)
    begun.join(5)
    # nothing is on its way to a store: the other lane's part may exceed the pool
    assert pool.acquire(50, give_up=never, has_begun=True)
    assert (order, pool.used) == (["begun"], 130)
    pool.release(130)
    waiting.join(5)
    assert order == ["begun", "new"]
    assert pool.used == 0


def _filled(pool: PartPool, size: int, value: int) -> memoryview:
    assert pool.acquire(size, give_up=never)
    part = pool.memory(size)
    part[:] = bytes([value]) * size
    return part


def test_memory_is_used_again_once_every_request_is_through() -> None:
    pool = PartPool(8 * MIB)
    one, two = Keeper(), Keeper()
    body = _filled(pool, 2 * MIB, 1)
    part = PooledPart(pool, body, [one, two])
    part.drop(one, is_through=True)
    other = _filled(pool, 2 * MIB, 2)
    assert bytes(body[:10]) == b"\1" * 10
    part.drop(two, is_through=True)
    again = _filled(pool, 2 * MIB, 3)
    assert again.obj is body.obj
    assert bytes(other[:10]) == b"\2" * 10


def test_memory_that_a_hanging_request_may_still_send_is_not_used_again() -> None:
    """A destination was detached, or its request failed: what it sends late must be what it was given."""
    pool = PartPool(8 * MIB)
    hanging, good = Keeper(), Keeper()
    body = _filled(pool, 2 * MIB, 1)
    part = PooledPart(pool, body, [hanging, good])
    part.drop(hanging)
    part.drop(good, is_through=True)
    assert pool.used == 0
    for value in range(2, 6):
        assert _filled(pool, 2 * MIB, value).obj is not body.obj
    assert bytes(body) == b"\1" * (2 * MIB)


def test_memory_set_aside_makes_room_for_parts_of_another_size() -> None:
    pool = PartPool(6 * MIB)
    keeper = Keeper()
    parts = [PooledPart(pool, _filled(pool, 2 * MIB, value), [keeper]) for value in range(3)]
    for part in parts:
        part.drop(keeper, is_through=True)
    assert sum(map(len, pool._memory._free)) == 6 * MIB
    assert len(_filled(pool, 5 * MIB, 9)) == 5 * MIB
    assert sum(map(len, pool._memory._free)) <= MIB
