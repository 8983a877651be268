"""The judges are judged first: each format reads back what it writes, and refuses what is broken."""
import pytest
from formats import FORMATS
from formats.common import HELLO, THINKING, Call, Grammar, Turn, Usage

FULL = Turn(text=HELLO, reasoning=THINKING, finish="tool_calls", usage=Usage(30, 20, 8, 5),
            calls=[Call("get_weather", '{"city":"Paris"}', "call_1"), Call("get_time", '{"tz":"Asia/Tokyo"}', "call_2")])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_format_reads_what_it_writes(name, streamed):
    f = FORMATS[name]
    turn = f.read_stream(b"".join(f.events(FULL))) if streamed else f.read(__import__("json").dumps(f.reply(FULL)))
    assert (turn.text, turn.reasoning, turn.finish) == (FULL.text, FULL.reasoning, FULL.finish)
    assert [(c.name, c.arguments) for c in turn.calls] == [(c.name, c.arguments) for c in FULL.calls]
    for count in f.counts:
        assert getattr(turn.usage, count) == getattr(FULL.usage, count)


@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_without_its_end_is_refused(name):
    f = FORMATS[name]
    events = f.events(FULL)
    with pytest.raises((Grammar, KeyError, UnicodeDecodeError)):
        f.read_stream(b"".join(events[:-1]))
    with pytest.raises((Grammar, KeyError, UnicodeDecodeError)):
        f.read_stream(b"".join(events)[:-5])


@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_error_is_read(name):
    f = FORMATS[name]
    assert f.read_stream_error(b"".join(f.events(FULL)[:2]) + f.stream_error("broke")).message == "broke"
