"""Anthropic Messages."""
import json

from .common import Ask, Call, Problem, Turn, Usage, cut, dump, has, must, parse, sse, sse_events

STOP = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "refusal": "refusal",
        "content_filter": "refusal"}
READ = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls",
        "refusal": "refusal", "pause_turn": "stop", "model_context_window_exceeded": "length"}
ERRORS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
          404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error", 500: "api_error",
          502: "api_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error"}


class Anthropic:
    name = "anthropic"
    stream_type = "text/event-stream"
    serial = 1  # in the ids of answers
    counts = {"input", "output", "cached"}

    # the client

    def path(self, ask):
        return "/v1/messages"

    def request(self, ask):
        messages, system = [], []

        def block(role, b):
            if messages and messages[-1]["role"] == role:
                messages[-1]["content"].append(b)
            else:
                messages.append({"role": role, "content": [b]})

        for m in ask.messages:
            if m[0] == "system":
                system.append({"type": "text", "text": m[1]})
            elif m[0] == "call":
                block("assistant", {"type": "tool_use", "id": m[1].id, "name": m[1].name,
                                    "input": json.loads(m[1].arguments)})
            elif m[0] == "result":
                block("user", {"type": "tool_result", "tool_use_id": m[1], "content": m[3]})
            elif m[0] == "image":
                block("user", {"type": "image", "source": {"type": "base64", "media_type": m[1], "data": m[2]}})
            else:
                block(m[0], {"type": "text", "text": m[1]})
        body = {"model": ask.model, "max_tokens": ask.max_tokens or 4096, "messages": messages}
        if system:
            body["system"] = system
        if ask.tools:
            body["tools"] = [{"name": n, "description": d, "input_schema": s} for n, d, s in ask.tools]
        if ask.tool_choice is not None:
            body["tool_choice"] = ({"type": "tool", "name": ask.tool_choice[1]} if isinstance(ask.tool_choice, tuple)
                                   else {"type": ask.tool_choice})
        for key, value in (("temperature", ask.temperature), ("top_p", ask.top_p), ("stop_sequences", ask.stop)):
            if value is not None:
                body[key] = value
        if ask.reasoning:
            body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
            body["max_tokens"] = max(body["max_tokens"], 4096)
        if ask.stream:
            body["stream"] = True
        return body

    def read_usage(self, u):
        has(u, "input_tokens", "output_tokens")
        cached = u.get("cache_read_input_tokens") or 0
        return Usage(u["input_tokens"] + cached + (u.get("cache_creation_input_tokens") or 0), u["output_tokens"],
                     cached, 0)

    def read_block(self, turn, block):
        kind = has(block, "type")["type"]
        if kind == "text":
            turn.text += block["text"]
        elif kind == "thinking":
            must(not turn.text, "thinking after text")
            has(block, "signature")
            turn.reasoning += block["thinking"]
        elif kind == "tool_use":
            must(isinstance(block["input"], dict), "input must be an object")
            must(block["id"] and all(c.isalnum() or c in "_-" for c in block["id"]), "id of tool_use", block["id"])
            turn.calls.append(Call(block["name"], dump(block["input"]), block["id"]))
        else:
            must(kind == "redacted_thinking", "unknown block", kind)

    def read(self, raw):
        r = has(parse(raw), "id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage")
        must(r["type"] == "message" and r["role"] == "assistant", "type and role")
        turn = Turn(finish=READ[r["stop_reason"]], usage=self.read_usage(r["usage"]), id=r["id"], model=r["model"])
        for block in r["content"]:
            self.read_block(turn, block)
        return turn

    def read_stream(self, raw):
        events = []
        for name, data in sse_events(raw):
            event = has(parse(data), "type")
            must(name == event["type"], "event name and type differ:", name, event["type"])
            if name != "ping":
                events.append(event)
        must(events[0]["type"] == "message_start", "does not start with message_start")
        must(events[-1]["type"] == "message_stop", "does not end with message_stop but", events[-1]["type"])
        message = has(events[0]["message"], "id", "type", "role", "model", "content", "stop_reason", "stop_sequence",
                      "usage")
        must(message["content"] == [] and message["stop_reason"] is None, "message_start is not empty")
        usage = dict(message["usage"])
        has(usage, "input_tokens", "output_tokens")
        turn, block, blocks, delta_seen = Turn(finish=None), None, 0, False
        for event in events[1:-1]:
            kind = event["type"]
            must(not delta_seen, kind, "after message_delta")
            if kind == "content_block_start":
                must(block is None, "block", event["index"], "starts before the last one stopped")
                must(event["index"] == blocks, "index", event["index"], "expected", blocks)
                blocks += 1
                block = dict(has(event["content_block"], "type"))
                block["json"] = ""
                empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""},
                         "tool_use": {"input": {}}}.get(block["type"], {})
                for member, value in empty.items():
                    must(block.get(member) == value, "start of", block["type"], "needs", member, value, dump(block))
            elif kind == "content_block_delta":
                must(block is not None and event["index"] == blocks - 1, "delta outside its block", dump(event))
                delta = event["delta"]
                if delta["type"] == "text_delta":
                    must(block["type"] == "text", "text_delta in", block["type"])
                    block["text"] += delta["text"]
                elif delta["type"] == "thinking_delta":
                    must(block["type"] == "thinking", "thinking_delta in", block["type"])
                    block["thinking"] += delta["thinking"]
                elif delta["type"] == "signature_delta":
                    must(block["type"] == "thinking", "signature_delta in", block["type"])
                    must(not block["signature"], "two signatures")
                    block["signature"] = delta["signature"]
                elif delta["type"] == "input_json_delta":
                    must(block["type"] == "tool_use", "input_json_delta in", block["type"])
                    block["json"] += delta["partial_json"]
                else:
                    must(delta["type"] == "citations_delta", "unknown delta", delta["type"])
            elif kind == "content_block_stop":
                must(block is not None and event["index"] == blocks - 1, "stop of no block", dump(event))
                if block["type"] == "tool_use":
                    block["input"] = parse(block["json"] or "{}")
                self.read_block(turn, block)
                if block["type"] == "tool_use" and block["json"]:
                    turn.calls[-1].arguments = block["json"]
                block = None
            else:
                must(kind == "message_delta", "unknown event", kind)
                must(block is None, "message_delta inside a block")
                delta_seen = True
                turn.finish = READ[has(event["delta"], "stop_reason", "stop_sequence")["stop_reason"]]
                has(event["usage"], "output_tokens")
                usage.update({k: v for k, v in event["usage"].items() if v is not None})
        must(delta_seen, "no message_delta")
        turn.usage, turn.id, turn.model = self.read_usage(usage), message["id"], message["model"]
        return turn

    def read_error(self, status, raw):
        r = has(parse(raw), "type", "error")
        must(r["type"] == "error", "type")
        has(r["error"], "type", "message")
        return Problem(r["error"]["message"], r["error"]["type"], status=status)

    def read_stream_error(self, raw):
        name, data = sse_events(raw)[-1]
        must(name == "error", "the last event is not an error but", name, data[:200])
        problem = self.read_error(200, data)
        return problem

    # the upstream

    def is_for_me(self, path):
        return path.endswith("/messages")

    def wants_stream(self, request):
        return bool(request.json.get("stream"))

    def understand(self, request):
        body = request.json
        messages = []
        system = body.get("system") or []
        for entry in [{"text": system}] if isinstance(system, str) else system:
            messages.append(("system", entry["text"]))
        must(isinstance(body.get("max_tokens"), int), "max_tokens is required")
        last = None
        for m in body["messages"]:
            must(m["role"] in ("user", "assistant"), "role", m["role"])
            must(m["role"] != last, "two", m["role"], "messages in a row")
            last = m["role"]
            blocks = [{"type": "text", "text": m["content"]}] if isinstance(m["content"], str) else m["content"]
            must(blocks, "empty message")
            for b in blocks:
                if b["type"] == "text":
                    must(b["text"], "empty text block")
                    messages.append((m["role"], b["text"]))
                elif b["type"] == "tool_use":
                    messages.append(("call", Call(b["name"], dump(b["input"]), b["id"])))
                elif b["type"] == "tool_result":
                    content = b.get("content") or ""
                    text = content if isinstance(content, str) else "".join(
                        c["text"] for c in content if c["type"] == "text")
                    messages.append(("result", b["tool_use_id"], None, text))
                elif b["type"] == "image":
                    source = b["source"]
                    messages.append(("image", source.get("media_type"), source.get("data", source.get("url"))))
        choice = body.get("tool_choice")
        if choice:
            choice = ("tool", choice["name"]) if choice["type"] == "tool" else choice["type"]
        thinking = body.get("thinking") or {}
        if thinking.get("type") == "enabled":
            must(1024 <= thinking["budget_tokens"] < body["max_tokens"], "budget_tokens", dump(thinking))
        return Ask(messages=messages, model=body["model"],
                   tools=[(t["name"], t.get("description"), t["input_schema"]) for t in body.get("tools", [])],
                   tool_choice=choice, max_tokens=body["max_tokens"], temperature=body.get("temperature"),
                   top_p=body.get("top_p"), stop=body.get("stop_sequences"),
                   reasoning=thinking.get("type") if thinking.get("type") != "disabled" else None,
                   schema=((body.get("output_config") or {}).get("format") or {}).get("schema"),
                   stream=bool(body.get("stream")))

    def usage(self, u):
        return {"input_tokens": u.input - u.cached, "cache_read_input_tokens": u.cached,
                "cache_creation_input_tokens": 0, "output_tokens": u.output}

    def blocks(self, turn):
        out = []
        if turn.reasoning:
            out.append({"type": "thinking", "thinking": turn.reasoning, "signature": "c2lnbmF0dXJl"})
        if turn.text or turn.refusal:
            out.append({"type": "text", "text": turn.text or turn.refusal})
        return out + [{"type": "tool_use", "id": c.id, "name": c.name, "input": json.loads(c.arguments)}
                      for c in turn.calls]

    def reply(self, turn, model="up"):
        return {"id": "msg_up%d" % self.serial, "type": "message", "role": "assistant", "model": model, "content": self.blocks(turn),
                "stop_reason": STOP[turn.finish], "stop_sequence": None, "usage": self.usage(turn.usage)}

    def events(self, turn, model="up", include_usage=True):
        def event(kind, **members):
            return sse(dump({"type": kind, **members}), kind)

        start = self.usage(turn.usage)
        start["output_tokens"] = 1
        out = [event("message_start", message={
            "id": "msg_up%d" % self.serial, "type": "message", "role": "assistant", "model": model, "content": [],
            "stop_reason": None, "stop_sequence": None, "usage": start}), event("ping")]
        texts = {c.id: c.arguments for c in turn.calls}
        for i, block in enumerate(self.blocks(turn)):
            kind = block["type"]
            if kind == "text":
                opening, deltas = {"text": ""}, [{"type": "text_delta", "text": s} for s in cut(block["text"])]
            elif kind == "thinking":
                opening = {"thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": s} for s in cut(block["thinking"])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            else:
                opening = {"id": block["id"], "name": block["name"], "input": {}}
                deltas = [{"type": "input_json_delta", "partial_json": s} for s in cut(texts[block["id"]])]
            out.append(event("content_block_start", index=i, content_block={"type": kind, **opening}))
            out += [event("content_block_delta", index=i, delta=d) for d in deltas]
            out.append(event("content_block_stop", index=i))
        out.append(event("message_delta", delta={"stop_reason": STOP[turn.finish], "stop_sequence": None},
                         usage={"output_tokens": turn.usage.output}))
        out.append(event("message_stop"))
        return out

    def error(self, status, message, kind=None, code=None):
        return {"type": "error", "error": {"type": ERRORS.get(status, "api_error"), "message": message},
                "request_id": "req_up1"}

    def stream_error(self, message):
        return sse(dump({"type": "error", "error": {"type": "api_error", "message": message}}), "error")
