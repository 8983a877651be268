"""What the formats share: the neutral request and answer that they are translated to and from, and SSE framing."""
import dataclasses
import json

HELLO = "Hello, I am a scripted upstream. Café 日本語 🙂.\nThat is all!"
THINKING = "Let me think first. 思考 🤔."


@dataclasses.dataclass
class Usage:
    """Counts as OpenAI counts: input includes cached, output includes reasoning."""

    input: int = 21
    output: int = 12
    cached: int = 0
    reasoning: int = 0


@dataclasses.dataclass
class Call:
    name: str
    arguments: str  # as text, so that numbers beyond a double and member order can be compared
    id: str = None


@dataclasses.dataclass
class Turn:
    """One answer of a model."""

    text: str = ""
    reasoning: str = ""
    calls: list = dataclasses.field(default_factory=list)
    refusal: str = ""
    finish: str = "stop"  # stop, length, tool_calls, content_filter, refusal
    usage: Usage = dataclasses.field(default_factory=Usage)
    id: str = None
    model: str = None
    extra: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Ask:
    """One request of a client. Messages are ("system"|"user"|"assistant", text), ("call", Call) or
    ("result", call id, name, text); an image is ("image", media type, base64) and belongs to a user."""

    messages: list = dataclasses.field(default_factory=lambda: [("user", "Hi")])
    tools: list = dataclasses.field(default_factory=list)  # (name, description, schema)
    tool_choice: object = None  # None, "none", "auto", "any", ("tool", name)
    max_tokens: int = 512
    temperature: float = None
    top_p: float = None
    stop: list = None
    reasoning: str = None  # None or an effort
    schema: dict = None  # structured output
    stream: bool = False
    model: str = "m"


@dataclasses.dataclass
class Problem:
    """An error as the client reads it."""

    message: str
    type: str
    code: object = None
    param: object = None
    status: int = None


class Grammar(AssertionError):
    """An answer that breaks the rules of its format."""


def must(condition, *what):
    if not condition:
        raise Grammar(" ".join(str(w) for w in what))


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def cut(text, size=7):
    """Text in pieces of a few characters, as a model streams it."""
    return [text[i : i + size] for i in range(0, len(text), size)]


def sse(data, event=None):
    name = "event: %s\n" % event if event else ""
    return ("%sdata: %s\n\n" % (name, data)).encode()


def sse_events(raw):
    """(event name or None, data text) for each event of a stream that is whole and well formed."""
    text = raw.decode("utf-8")  # a stream is valid UTF-8, always
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    must(text == "" or text.endswith("\n\n"), "the last event is not closed by a blank line:", repr(text[-80:]))
    out = []
    for block in text.split("\n\n"):
        name, data = None, []
        for line in block.split("\n"):
            if not line or line.startswith(":"):
                continue
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            must(field in ("event", "data", "id", "retry"), "unknown field", repr(line))
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
        if data:
            out.append((name, "\n".join(data)))
        else:
            must(name is None, "event without data:", name)
    return out


def parse(text):
    try:
        return json.loads(text)
    except ValueError as e:
        raise Grammar("not JSON: %s: %r" % (e, text[:200])) from None


def has(obj, *names):
    must(isinstance(obj, dict), "not an object:", repr(obj)[:120])
    for name in names:
        must(name in obj, "member", name, "is missing in", dump(obj)[:300])
    return obj
