from mailer.embedded.store import Store


def fill(store: Store, count: int) -> None:
    for n in range(count):
        store.add("from@example.com", [f"to{n}@example.net"], b"x" * 10)


def test_only_the_newest_messages_are_kept_but_all_are_counted() -> None:
    store = Store(messages=3)
    fill(store, 5)
    assert [caught.id for caught in store.newest_first()] == [5, 4, 3]
    assert store.count == 5
    assert len(store.recipients()) == 5


def test_memory_is_bounded_and_the_newest_message_stays_however_large() -> None:
    store = Store(size=25)
    fill(store, 4)
    assert [caught.id for caught in store.newest_first()] == [4, 3]
    store.add("a@example.com", ["b@example.net"], b"x" * 100)
    assert [caught.id for caught in store.newest_first()] == [5]


def test_a_message_is_found_by_its_id_while_it_is_kept() -> None:
    store = Store(messages=2)
    fill(store, 3)
    found = store.get(2)
    assert found is not None
    assert found.id == 2
    assert [store.get(n) for n in (0, 1, 4)] == [None, None, None]


def test_search_looks_at_senders_and_recipients_in_any_case() -> None:
    store = Store()
    fill(store, 3)
    assert [caught.id for caught in store.search("TO1@")] == [2]
    assert len(list(store.search("from@example"))) == 3


def test_waiting_ends_when_enough_arrived_or_time_is_up() -> None:
    store = Store()
    fill(store, 2)
    assert store.wait_for(2, timeout=10)
    assert not store.wait_for(3, timeout=0)
