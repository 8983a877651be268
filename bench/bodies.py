"""What a benchmark sends and how it recognises a right answer, per wire format.

Four formats, one conversation: bodies of the same content, so that translated hops do the work
that real requests cause (system text, turns, a tool schema).
"""
import json
from dataclasses import dataclass

FORMATS = ("chat", "responses", "messages", "gemini")
BIG_THREE = ("chat", "messages", "gemini")

SMALL_BYTES = 748  # of the chat body; the other formats carry the same content
LARGE_BYTES = 200_000

_SYSTEM = "You are the lock keeper of a canal. Answer in one short paragraph."
_QUESTION = "How does the water know which way to go when two gates stand open at once?"
_ANSWER = "It takes the lower one; the level upstream tells you which."
_TOOL = {
    "name": "read_gauge",
    "description": "Water level at a gate, in millimetres",
    "schema": {
        "type": "object",
        "properties": {"gate": {"type": "string"}, "hours": {"type": "integer"}},
        "required": ["gate"],
    },
}


@dataclass(frozen=True)
class Marks:
    """Texts that a right answer contains; `end` is in the last event of a stream."""

    json: str
    stream: str
    end: str


MARKS = {
    "chat": Marks('"finish_reason":"stop"', '"finish_reason"', "[DONE]"),
    "responses": Marks('"output_text"', "response.output_text.delta", "response.completed"),
    "messages": Marks('"stop_reason":"end_turn"', '"end_turn"', "message_stop"),
    "gemini": Marks('"candidates"', '"finishReason"', "usageMetadata"),
}


def path(fmt, model, stream):
    """Where a client of this format sends its request."""
    if fmt == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model}:{verb}"
    return {
        "chat": "/v1/chat/completions",
        "responses": "/v1/responses",
        "messages": "/v1/messages",
    }[fmt]


def key_header(fmt, key):
    """The vendor's own way to send a key."""
    if fmt == "messages":
        return ["anthropic-version: 2023-06-01", f"x-api-key: {key}"]
    if fmt == "gemini":
        return [f"x-goog-api-key: {key}"]
    return [f"Authorization: Bearer {key}"]


def _turns(last_words, extra_turns):
    turns = [("user", _QUESTION), ("assistant", _ANSWER)]
    for i in range(extra_turns):
        line = f"Turn {i}: the gauge at \"gate {i % 7}\" reads {1200 + 37 * i % 900} mm,\n\t"
        turns.append(("assistant" if i % 2 else "user", (line + "été, wind from the west. ") * 20))
    if extra_turns % 2:
        turns.append(("assistant", _ANSWER))
    turns.append(("user", "And at night?" + last_words))
    return turns


def _chat(model, stream, turns):
    body = {
        "model": model,
        "messages": [{"role": "system", "content": _SYSTEM}]
        + [{"role": role, "content": text} for role, text in turns],
        "temperature": 0.7,
        "max_completion_tokens": 512,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": _TOOL["name"],
                    "description": _TOOL["description"],
                    "parameters": _TOOL["schema"],
                },
            }
        ],
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _responses(model, stream, turns):
    body = {
        "model": model,
        "instructions": _SYSTEM,
        "input": [{"role": role, "content": text} for role, text in turns],
        "temperature": 0.7,
        "max_output_tokens": 512,
        "store": False,
        "tools": [
            {
                "type": "function",
                "name": _TOOL["name"],
                "description": _TOOL["description"],
                "parameters": _TOOL["schema"],
                "strict": False,
            }
        ],
    }
    return body | ({"stream": True} if stream else {})


def _messages(model, stream, turns):
    body = {
        "model": model,
        "max_tokens": 512,
        "system": _SYSTEM,
        "messages": [{"role": role, "content": text} for role, text in turns],
        "temperature": 0.7,
        "tools": [
            {
                "name": _TOOL["name"],
                "description": _TOOL["description"],
                "input_schema": _TOOL["schema"],
            }
        ],
    }
    return body | ({"stream": True} if stream else {})


def _gemini(model, stream, turns):
    del model, stream  # both are in the path
    role_of = {"user": "user", "assistant": "model"}
    return {
        "systemInstruction": {"parts": [{"text": _SYSTEM}]},
        "contents": [{"role": role_of[role], "parts": [{"text": text}]} for role, text in turns],
        "generationConfig": {"temperature": 0.7, "maxOutputTokens": 512},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": _TOOL["name"],
                        "description": _TOOL["description"],
                        "parameters": _TOOL["schema"],
                    }
                ]
            }
        ],
    }


_WRITERS = {"chat": _chat, "responses": _responses, "messages": _messages, "gemini": _gemini}


def _encode(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _padding(size, extra_turns):
    """Words that bring a small chat body to exactly SMALL_BYTES, or a large one near its size."""
    bare = len(_encode(_chat("m" * 16, False, _turns("", extra_turns))))
    return " Mind the sill."[: max(0, size - bare)].ljust(max(0, size - bare), ".")


def body(fmt, model, stream, large=False):
    """The request's bytes."""
    if large:
        return _encode(_WRITERS[fmt](model, stream, _turns("", _extra_turns_for(LARGE_BYTES))))
    return _encode(_WRITERS[fmt](model, stream, _turns(_padding(SMALL_BYTES, 0), 0)))


def _extra_turns_for(size):
    low = len(_encode(_chat("m" * 16, False, _turns("", 0))))
    one = (len(_encode(_chat("m" * 16, False, _turns("", 20)))) - low) / 20
    return round((size - low) / one)


# ---- reading answers back, to prove that what is timed is right


def _events(data):
    for line in data.decode().splitlines():
        if line.startswith("data:") and line[5:].strip() not in ("", "[DONE]"):
            yield json.loads(line[5:])


def read_json(fmt, data):
    """(text, input tokens, output tokens) of a complete answer."""
    value = json.loads(data)
    if fmt == "chat":
        usage = value["usage"]
        text = value["choices"][0]["message"]["content"]
        return text, usage["prompt_tokens"], usage["completion_tokens"]
    if fmt == "gemini":
        usage = value["usageMetadata"]
        text = "".join(part["text"] for part in value["candidates"][0]["content"]["parts"])
        return text, usage["promptTokenCount"], usage["candidatesTokenCount"]
    usage = value["usage"]
    if fmt == "responses":
        items = [item for item in value["output"] if item["type"] == "message"]
        parts = [part for item in items for part in item["content"]]
    else:
        parts = value["content"]
    return "".join(part["text"] for part in parts), usage["input_tokens"], usage["output_tokens"]


def read_stream(fmt, data):
    """The same, of a stream."""
    text, used_in, used_out = "", None, None
    for event in _events(data):
        if fmt == "chat":
            for choice in event.get("choices", []):
                text += choice["delta"].get("content") or ""
            if event.get("usage"):
                used_in = event["usage"]["prompt_tokens"]
                used_out = event["usage"]["completion_tokens"]
        elif fmt == "responses":
            if event["type"] == "response.output_text.delta":
                text += event["delta"]
            elif event["type"] == "response.completed":
                used_in = event["response"]["usage"]["input_tokens"]
                used_out = event["response"]["usage"]["output_tokens"]
        elif fmt == "messages":
            if event["type"] == "content_block_delta":
                text += event["delta"].get("text", "")
            usage = event.get("usage") or event.get("message", {}).get("usage") or {}
            used_in = usage.get("input_tokens", used_in) or used_in
            used_out = usage.get("output_tokens", used_out)
        else:
            for candidate in event.get("candidates", []):
                for part in candidate.get("content", {}).get("parts", []):
                    text += part.get("text", "")
            if "usageMetadata" in event:
                used_in = event["usageMetadata"].get("promptTokenCount", used_in)
                used_out = event["usageMetadata"].get("candidatesTokenCount", used_out)
    return text, used_in, used_out
