"""Events: verified, handled once, put aside; offline messages in the database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mics_hook as hook

SECRET = "s"


def event(**changes: Any) -> hook.MqEvent:
    message = hook.MessageRequest(msg_id="m1", user_id="u1", to_user_id="u2", msg_body=b"hello")
    values: dict[str, Any] = {
        "tenant_id": "t1",
        "event_type": hook.OFFLINE_MESSAGE,
        "msg_id": "m1",
        "user_id": "u1",
        "device_id": "d1",
        "to_user_id": "u2",
        "timestamp": 1770000000000,
        "event_data": message.SerializeToString(),
    }
    return hook.MqEvent(**(values | changes))


def value(e: hook.MqEvent, secret: str = SECRET) -> bytes:
    e.sign = ""
    e.sign = hook.compute_mq_event_sign_base64(secret, e.SerializeToString())
    data: bytes = e.SerializeToString()
    return data


class Rig:
    """A processor with a handler that fails as often as told."""

    def __init__(self, fails: int = 0, **options: Any) -> None:
        self.handled: list[str] = []
        self.letters: list[tuple[bytes | None, bytes, str]] = []
        self.fails = fails
        values: dict[str, Any] = {
            "bootstrap_servers": "",
            "tenant_id": "t1",
            "tenant_secret": SECRET,
            "retry_backoff": 0.001,
        }
        self.processor = hook.EventProcessor(hook.ConsumerOptions(**(values | options)), self._handle, self._letter)

    async def _handle(self, e: hook.MqEvent) -> None:
        if self.fails:
            self.fails -= 1
            raise RuntimeError("not now")
        self.handled.append(e.msg_id)

    async def _letter(self, key: bytes | None, data: bytes, reason: str) -> None:
        self.letters.append((key, data, reason))


async def test_an_event_is_handled_once() -> None:
    rig = Rig()
    data = value(event())
    assert await rig.processor.process(b"u1", data) is hook.Outcome.HANDLED
    assert await rig.processor.process(b"u1", data) is hook.Outcome.DUPLICATE
    assert rig.handled == ["m1"]


async def test_other_recipients_types_and_restarted_ids_are_other_events() -> None:
    rig = Rig()
    others: list[dict[str, Any]] = [
        {},
        {"to_user_id": "u3"},
        {"event_type": hook.GROUP_CHAT_MSG},
        {"device_id": "d2"},
        {"timestamp": 1},
    ]
    for changes in others:
        assert await rig.processor.process(b"u1", value(event(**changes))) is hook.Outcome.HANDLED


async def test_connection_events_are_told_apart_by_their_connection() -> None:
    rig = Rig()
    on: dict[str, Any] = {"event_type": hook.CONNECT_ONLINE, "msg_id": ""}
    outcomes = [await rig.processor.process(b"u1", value(event(**on, trace_id=trace))) for trace in ("a", "b", "a")]
    assert outcomes == [hook.Outcome.HANDLED, hook.Outcome.HANDLED, hook.Outcome.DUPLICATE]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", "invalid protobuf"),
        (event().SerializeToString(), "invalid sign"),
        (value(event(), "another"), "invalid sign"),
        (value(event(tenant_id="t2")), "wrong tenant"),
    ],
)
async def test_what_is_not_believed_becomes_a_dead_letter(data: bytes, reason: str) -> None:
    rig = Rig()
    assert await rig.processor.process(b"k", data) is hook.Outcome.DEAD_LETTER
    assert rig.letters == [(b"k", data, reason)]
    assert rig.handled == []


async def test_a_record_without_a_value_is_put_aside() -> None:
    rig = Rig()
    assert await rig.processor.process(None, None) is hook.Outcome.DEAD_LETTER


async def test_a_failing_handler_is_tried_again_and_then_the_event_put_aside() -> None:
    rig = Rig(fails=2)
    assert await rig.processor.process(b"u1", value(event())) is hook.Outcome.HANDLED
    rig = Rig(fails=3)
    data = value(event())
    assert await rig.processor.process(b"u1", data) is hook.Outcome.DEAD_LETTER
    assert rig.letters == [(b"u1", data, "handler failed: RuntimeError")]
    assert await rig.processor.process(b"u1", data) is hook.Outcome.HANDLED, "a dead letter can be replayed"


async def test_a_dead_letter_that_cannot_be_written_is_not_done() -> None:
    rig = Rig()

    async def fail(*_: Any) -> None:
        raise OSError("no broker")

    rig.processor._dead_letter = fail
    with pytest.raises(OSError, match="no broker"):
        await rig.processor.process(b"k", b"\xff")


async def test_the_memory_of_events_is_bounded() -> None:
    memory = hook.MemoryProcessedEvents(2)
    for i in "abc":
        await memory.mark((i,))
    assert [await memory.seen((i,)) for i in "abc"] == [False, True, True]


async def test_offline_messages_survive_and_are_pulled_page_by_page(tmp_path: Path) -> None:
    path = tmp_path / "offline.db"
    store = hook.SqliteOfflineStore(path)
    save = hook.offline_event_handler(store)
    for i in range(5):
        message = hook.MessageRequest(msg_id=f"m{i}", msg_body=b"x")
        await save(event(msg_id=f"m{i}", event_data=message.SerializeToString()))
    await save(event(msg_id="m0"))
    await save(event(event_type=hook.SINGLE_CHAT_MSG, msg_id="chat"))
    await save(event(tenant_id="t2", msg_id="other-tenant"))
    store.close()

    store = hook.SqliteOfflineStore(path)
    pull = hook.offline_pull_handler(store)
    got: list[str] = []
    cursor, pages = "", 0
    while True:
        request = hook.GetOfflineMessagesRequest(
            meta=hook.HookMeta(tenant_id="t1"), user_id="u2", max_messages=2, cursor=cursor
        )
        answer = await pull(request)
        assert answer.ok
        got += [m.msg_id for m in answer.messages]
        pages += 1
        if not answer.has_more:
            break
        cursor = answer.next_cursor
    assert (got, pages) == (["m0", "m1", "m2", "m3", "m4"], 3)
    assert await store.delete_read("t1", "u2", ["m0", "m1", "unknown"]) == 2
    assert [hook.MessageRequest.FromString(m).msg_id for m in (await store.page("t1", "u2", 9, "")).messages] == [
        "m2",
        "m3",
        "m4",
    ]
    assert await store.delete_older_than(-1) == 4
    store.close()


async def test_what_is_no_message_is_not_stored() -> None:
    store = hook.SqliteOfflineStore(":memory:")
    with pytest.raises(ValueError, match="event_data"):
        await hook.offline_event_handler(store)(event(event_data=b"\xff"))
    assert (await store.page("t1", "u2", 100, "9" * 30)).messages == []
    store.close()


async def test_messages_are_given_back_byte_for_byte_and_stored_once() -> None:
    store = hook.SqliteOfflineStore(":memory:")
    data = hook.MessageRequest(msg_id="1").SerializeToString() + b"\xf2\x3f\x03new"
    assert await store.save(event(event_data=data))
    assert not await store.save(event(event_data=data))
    assert (await store.page("t1", "u2", 100, "")).messages == [data]
    store.close()


async def test_a_page_has_a_size_and_at_least_one_message() -> None:
    store = hook.SqliteOfflineStore(":memory:", max_page_bytes=1000)
    for i in range(3):
        await store.save(event(msg_id=str(i), event_data=b"x" * (600 if i else 5000)))
    first = await store.page("t1", "u2", 100, "")
    assert (len(first.messages), first.has_more) == (1, True)
    second = await store.page("t1", "u2", 100, first.next_cursor)
    third = await store.page("t1", "u2", 100, second.next_cursor)
    assert (len(second.messages), second.has_more, len(third.messages), third.has_more) == (1, True, 1, False)
    assert (await store.page("t1", "u2", 100, "not a cursor")).messages == first.messages
    store.close()
