"""OpenAI Chat Completions."""
import json

from .common import Ask, Call, Problem, Turn, Usage, cut, dump, has, must, parse, sse, sse_events


class Chat:
    name = "chat"
    stream_type = "text/event-stream"
    serial = 1  # in the ids of answers
    counts = {"input", "output", "cached", "reasoning"}

    # the client

    def path(self, ask):
        return "/v1/chat/completions"

    def request(self, ask):
        messages = []
        for m in ask.messages:
            if m[0] == "call":
                call = {"id": m[1].id, "type": "function",
                        "function": {"name": m[1].name, "arguments": m[1].arguments}}
                if messages and messages[-1]["role"] == "assistant":
                    messages[-1].setdefault("tool_calls", []).append(call)
                else:
                    messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            elif m[0] == "result":
                messages.append({"role": "tool", "tool_call_id": m[1], "content": m[3]})
            elif m[0] == "image":
                part = {"type": "image_url", "image_url": {"url": "data:%s;base64,%s" % m[1:]}}
                messages[-1]["content"] = [{"type": "text", "text": messages[-1]["content"]}, part]
            else:
                messages.append({"role": m[0], "content": m[1]})
        body = {"model": ask.model, "messages": messages}
        if ask.tools:
            body["tools"] = [{"type": "function", "function": {"name": n, "description": d, "parameters": s}}
                             for n, d, s in ask.tools]
        if ask.tool_choice is not None:
            body["tool_choice"] = (
                {"type": "function", "function": {"name": ask.tool_choice[1]}}
                if isinstance(ask.tool_choice, tuple) else {"any": "required"}.get(ask.tool_choice, ask.tool_choice))
        for key, value in (("max_tokens", ask.max_tokens), ("temperature", ask.temperature), ("top_p", ask.top_p),
                           ("stop", ask.stop), ("reasoning_effort", ask.reasoning)):
            if value is not None:
                body[key] = value
        if ask.schema:
            body["response_format"] = {"type": "json_schema", "json_schema": {"name": "out", "schema": ask.schema}}
        if ask.stream:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        return body

    def read(self, raw):
        r = has(parse(raw), "id", "object", "created", "model", "choices", "usage")
        must(r["object"] == "chat.completion", r["object"])
        must(isinstance(r["created"], int), "created")
        must([c["index"] for c in r["choices"]] == list(range(len(r["choices"]))), "choice indices")
        choice = has(r["choices"][0], "message", "finish_reason")
        message = has(choice["message"], "role", "content")
        must(message["role"] == "assistant", "role")
        calls = []
        for call in message.get("tool_calls") or []:
            must(call["type"] == "function", "type of call")
            must(isinstance(call["function"]["arguments"], str), "arguments must be a string")
            must(isinstance(call["id"], str) and 0 < len(call["id"]) <= 40, "call id", call["id"])
            calls.append(Call(call["function"]["name"], call["function"]["arguments"], call["id"]))
        return Turn(text=message["content"] or "", reasoning=message.get("reasoning_content") or "", calls=calls,
                    refusal=message.get("refusal") or "", finish=choice["finish_reason"],
                    usage=self.read_usage(r["usage"]), id=r["id"], model=r["model"])

    def read_usage(self, u):
        has(u, "prompt_tokens", "completion_tokens", "total_tokens")
        must(u["total_tokens"] == u["prompt_tokens"] + u["completion_tokens"], "total_tokens", dump(u))
        return Usage(u["prompt_tokens"], u["completion_tokens"],
                     (u.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
                     (u.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0)

    def read_stream(self, raw):
        events = sse_events(raw)
        must(events and events[-1][1] == "[DONE]", "no [DONE] at the end:", raw[-200:])
        must([e[1] for e in events].count("[DONE]") == 1, "several [DONE]")
        turn, same, calls, usage = Turn(finish=None, usage=None), None, {}, 0
        for n, (name, data) in enumerate(events[:-1]):
            must(name in (None, "message"), "named event in a chat stream:", name)
            chunk = has(parse(data), "id", "object", "created", "model", "choices")
            must(chunk["object"] == "chat.completion.chunk", chunk["object"])
            key = (chunk["id"], chunk["created"], chunk["model"])
            same = same or key
            must(same == key, "id, created and model change inside a stream:", same, key)
            if chunk.get("usage"):
                usage += 1
                turn.usage = self.read_usage(chunk["usage"])
            if not chunk["choices"]:
                must(chunk.get("usage"), "a chunk without choices and usage")
                must(turn.finish, "usage before finish")
                continue
            choice = has(chunk["choices"][0], "index", "delta")
            must(choice["index"] == 0, "index")
            delta = choice["delta"]
            if n == 0:
                must(delta.get("role") == "assistant", "the first delta has no role:", data)
            must(turn.finish is None or not any(delta.get(k) for k in ("content", "tool_calls", "reasoning_content")),
                 "content after finish")
            if delta.get("reasoning_content"):
                must(not turn.text, "reasoning after text")
            turn.text += delta.get("content") or ""
            turn.reasoning += delta.get("reasoning_content") or ""
            turn.refusal += delta.get("refusal") or ""
            for part in delta.get("tool_calls") or []:
                index = part["index"]
                if index not in calls:
                    must(index == len(calls), "tool indices are not dense:", index)
                    has(part, "id", "type")
                    must(part["function"]["name"], "name")
                    calls[index] = Call(part["function"]["name"], "", part["id"])
                else:
                    must("id" not in part and "name" not in part["function"], "id or name repeated:", data)
                calls[index].arguments += part["function"].get("arguments") or ""
            if choice.get("finish_reason"):
                must(turn.finish is None, "two finishes")
                turn.finish = choice["finish_reason"]
        must(turn.finish, "no finish_reason")
        must(usage == 1, "usage chunks:", usage)
        turn.id, _, turn.model = same
        turn.calls = [calls[k] for k in sorted(calls)]
        return turn

    def read_error(self, status, raw):
        error = has(parse(raw), "error")["error"]
        has(error, "message", "type", "param", "code")
        return Problem(error["message"], error["type"], error["code"], error["param"], status)

    def read_stream_error(self, raw):
        """The error that ends a stream."""
        events = sse_events(raw)
        must(all(e[1] != "[DONE]" for e in events), "[DONE] after an error")
        error = has(parse(events[-1][1]), "error")["error"]
        return Problem(has(error, "message")["message"], error.get("type"))

    # the upstream

    def is_for_me(self, path):
        return path.endswith("/chat/completions")

    def wants_stream(self, request):
        return bool(request.json.get("stream"))

    def understand(self, request):
        body = request.json
        messages = []
        for m in body["messages"]:
            content = m.get("content")
            if m["role"] == "tool":
                messages.append(("result", m["tool_call_id"], None, text_of(content)))
                continue
            if text_of(content):
                messages.append(({"developer": "system"}.get(m["role"], m["role"]), text_of(content)))
            for part in content if isinstance(content, list) else []:
                if part["type"] == "image_url":
                    media, _, data = part["image_url"]["url"].removeprefix("data:").partition(";base64,")
                    messages.append(("image", media, data))
            for call in m.get("tool_calls") or []:
                must(call["type"] == "function" and isinstance(call["function"]["arguments"], str), "tool_calls")
                messages.append(("call", Call(call["function"]["name"], call["function"]["arguments"], call["id"])))
        choice = body.get("tool_choice")
        if isinstance(choice, dict):
            choice = ("tool", choice["function"]["name"])
        stop = body.get("stop")
        return Ask(messages=messages, model=body["model"],
                   tools=[(t["function"]["name"], t["function"].get("description"), t["function"].get("parameters"))
                          for t in body.get("tools", [])],
                   tool_choice={"required": "any"}.get(choice, choice) if isinstance(choice, str) else choice,
                   max_tokens=body.get("max_completion_tokens", body.get("max_tokens")),
                   temperature=body.get("temperature"), top_p=body.get("top_p"),
                   stop=[stop] if isinstance(stop, str) else stop, reasoning=body.get("reasoning_effort"),
                   schema=((body.get("response_format") or {}).get("json_schema") or {}).get("schema"),
                   stream=bool(body.get("stream")))

    def usage(self, u):
        out = {"prompt_tokens": u.input, "completion_tokens": u.output, "total_tokens": u.input + u.output}
        out["prompt_tokens_details"] = {"cached_tokens": u.cached}
        out["completion_tokens_details"] = {"reasoning_tokens": u.reasoning}
        return out

    def finish(self, turn):
        return {"refusal": "stop"}.get(turn.finish, turn.finish)

    def reply(self, turn, model="up"):
        message = {"role": "assistant", "content": turn.text or None, "refusal": turn.refusal or None}
        if turn.reasoning:
            message["reasoning_content"] = turn.reasoning
        if turn.calls:
            message["tool_calls"] = [{"id": c.id, "type": "function",
                                      "function": {"name": c.name, "arguments": c.arguments}} for c in turn.calls]
        return {"id": "chatcmpl-up%d" % self.serial, "object": "chat.completion", "created": 1700000000, "model": model,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish(turn)}],
                "usage": self.usage(turn.usage), "system_fingerprint": "fp_up", "service_tier": "default"}

    def events(self, turn, model="up", include_usage=True):
        def chunk(delta, finish=None):
            return sse(dump({"id": "chatcmpl-up%d" % self.serial, "object": "chat.completion.chunk", "created": 1700000000,
                             "model": model, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))

        out = [chunk({"role": "assistant", "content": ""})]
        out += [chunk({"reasoning_content": s}) for s in cut(turn.reasoning)]
        out += [chunk({"content": s}) for s in cut(turn.text)]
        out += [chunk({"refusal": s}) for s in cut(turn.refusal)]
        for i, c in enumerate(turn.calls):
            out.append(chunk({"tool_calls": [{"index": i, "id": c.id, "type": "function",
                                              "function": {"name": c.name, "arguments": ""}}]}))
            out += [chunk({"tool_calls": [{"index": i, "function": {"arguments": s}}]}) for s in cut(c.arguments)]
        out.append(chunk({}, self.finish(turn)))
        if include_usage:
            out.append(sse(dump({"id": "chatcmpl-up%d" % self.serial, "object": "chat.completion.chunk", "created": 1700000000,
                                 "model": model, "choices": [], "usage": self.usage(turn.usage)})))
        out.append(sse("[DONE]"))
        return out

    def error(self, status, message, kind="invalid_request_error", code=None):
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def stream_error(self, message):
        return sse(dump({"error": {"message": message, "type": "server_error", "param": None, "code": None}}))


def text_of(content):
    if isinstance(content, list):
        return "".join(p["text"] for p in content if p["type"] == "text")
    return content or ""


def loads(text):
    return json.loads(text)
