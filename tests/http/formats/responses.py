"""OpenAI Responses."""
from .common import Ask, Call, Problem, Turn, Usage, cut, dump, has, must, parse, sse, sse_events

SKELETON = """id object created_at status background error incomplete_details instructions max_output_tokens
max_tool_calls metadata model output parallel_tool_calls previous_response_id prompt_cache_key reasoning
safety_identifier service_tier store temperature text tool_choice tools top_logprobs top_p truncation usage user""".split()


class Responses:
    name = "responses"
    stream_type = "text/event-stream"
    serial = 1  # in the ids of answers
    counts = {"input", "output", "cached", "reasoning"}

    # the client

    def path(self, ask):
        return "/v1/responses"

    def request(self, ask):
        items, instructions = [], []
        for m in ask.messages:
            if m[0] == "system" and not items:
                instructions.append(m[1])
            elif m[0] == "call":
                items.append({"type": "function_call", "call_id": m[1].id, "name": m[1].name,
                              "arguments": m[1].arguments})
            elif m[0] == "result":
                items.append({"type": "function_call_output", "call_id": m[1], "output": m[3]})
            elif m[0] == "image":
                items[-1]["content"].append({"type": "input_image", "image_url": "data:%s;base64,%s" % m[1:]})
            else:
                kind = "output_text" if m[0] == "assistant" else "input_text"
                items.append({"type": "message", "role": m[0], "content": [{"type": kind, "text": m[1]}]})
        body = {"model": ask.model, "input": items}
        if instructions:
            body["instructions"] = "\n\n".join(instructions)
        if ask.tools:
            body["tools"] = [{"type": "function", "name": n, "description": d, "parameters": s, "strict": False}
                             for n, d, s in ask.tools]
        if ask.tool_choice is not None:
            body["tool_choice"] = ({"type": "function", "name": ask.tool_choice[1]}
                                   if isinstance(ask.tool_choice, tuple)
                                   else {"any": "required"}.get(ask.tool_choice, ask.tool_choice))
        for key, value in (("max_output_tokens", ask.max_tokens), ("temperature", ask.temperature),
                           ("top_p", ask.top_p)):
            if value is not None:
                body[key] = value
        if ask.reasoning:
            body["reasoning"] = {"effort": ask.reasoning, "summary": "auto"}
        if ask.schema:
            body["text"] = {"format": {"type": "json_schema", "name": "out", "schema": ask.schema}}
        if ask.stream:
            body["stream"] = True
        return body

    def read_usage(self, u):
        has(u, "input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details", "total_tokens")
        must(u["total_tokens"] == u["input_tokens"] + u["output_tokens"], "total_tokens", dump(u))
        return Usage(u["input_tokens"], u["output_tokens"], u["input_tokens_details"]["cached_tokens"],
                     u["output_tokens_details"]["reasoning_tokens"])

    def read_response(self, r, whole=True):
        has(r, *SKELETON)
        must(r["object"] == "response", r["object"])
        turn = Turn(id=r["id"], model=r["model"])
        message_seen = False
        for item in r["output"]:
            has(item, "type", "id")
            if item["type"] == "reasoning":
                must(not message_seen, "reasoning after the message")
                turn.reasoning += "".join(s["text"] for s in has(item, "summary")["summary"])
                turn.reasoning += "".join(s["text"] for s in item.get("content") or [])
            elif item["type"] == "message":
                message_seen = True
                must(item["role"] == "assistant" and item["id"].startswith("msg_"), "message item", dump(item)[:200])
                for part in item["content"]:
                    if part["type"] == "refusal":
                        turn.refusal += part["refusal"]
                    else:
                        must(part["type"] == "output_text", part["type"])
                        has(part, "annotations")
                        turn.text += part["text"]
            else:
                must(item["type"] == "function_call", "unknown item", item["type"])
                must(item["id"].startswith("fc_"), "item id", item["id"])
                must(isinstance(item["arguments"], str), "arguments must be a string")
                turn.calls.append(Call(item["name"], item["arguments"], item["call_id"]))
        if r["status"] == "incomplete":
            turn.finish = {"max_output_tokens": "length",
                           "content_filter": "content_filter"}[r["incomplete_details"]["reason"]]
        else:
            must(r["status"] == "completed", "status", r["status"])
            turn.finish = "tool_calls" if turn.calls else "stop"
        if whole:
            turn.usage = self.read_usage(r["usage"])
        return turn

    def read(self, raw):
        return self.read_response(parse(raw))

    def read_stream(self, raw):
        events = []
        for name, data in sse_events(raw):
            if data == "[DONE]":
                continue
            event = has(parse(data), "type", "sequence_number")
            must(name == event["type"], "event name and type differ:", name, event["type"])
            must(event["sequence_number"] == len(events), "sequence_number", event["sequence_number"],
                 "expected", len(events))
            events.append(event)
        kinds = [e["type"] for e in events]
        must(kinds[:2] == ["response.created", "response.in_progress"], "start:", kinds[:2])
        must(kinds[-1] in ("response.completed", "response.incomplete"), "end:", kinds[-1])
        must(not set(kinds[:-1]) & {"response.completed", "response.incomplete", "response.failed"}, "two ends")
        for e in events[:2] + events[-1:]:
            has(e["response"], *SKELETON)
        must(len({e["response"]["id"] for e in events[:2] + events[-1:]}) == 1, "response id changes")

        items, item, part = [], None, None
        for e in events[2:-1]:
            kind = e["type"].removeprefix("response.")
            has(e, "output_index")
            if kind == "output_item.added":
                must(item is None, "item added before the last one was done")
                must(e["output_index"] == len(items), "output_index", e["output_index"])
                item = {"id": has(e["item"], "id", "type")["id"], "type": e["item"]["type"], "parts": [], "text": ""}
                if item["type"] == "function_call":
                    has(e["item"], "call_id", "name", "arguments")
                continue
            must(item is not None and e["output_index"] == len(items), "event outside its item", dump(e)[:200])
            if kind == "output_item.done":
                must(part is None, "item done before its part")
                must(e["item"]["id"] == item["id"], "item id changes")
                if item["type"] == "function_call":
                    must(e["item"]["arguments"] == item["text"], "arguments are not their deltas",
                         e["item"]["arguments"], item["text"])
                items.append(e["item"])
                item = None
                continue
            must(has(e, "item_id")["item_id"] == item["id"], "item_id", e.get("item_id"), item["id"])
            if kind in ("content_part.added", "reasoning_summary_part.added"):
                must(part is None, "part added before the last one was done")
                must(e.get("content_index", e.get("summary_index")) == len(item["parts"]), "part index")
                part = {"text": ""}
            elif kind in ("content_part.done", "reasoning_summary_part.done"):
                must(part is not None, "part done without start")
                must(e["part"].get("text", e["part"].get("refusal")) == part["text"], "part is not its deltas")
                item["parts"].append(part)
                part = None
            elif kind == "function_call_arguments.delta":
                item["text"] += e["delta"]
            elif kind == "function_call_arguments.done":
                must(e["arguments"] == item["text"], "arguments.done is not its deltas")
            elif kind.endswith(".delta"):
                target = part if part is not None else item
                must(part is not None or kind.startswith("reasoning_text"), "delta outside a part:", kind)
                target["text"] += e["delta"]
            elif kind.endswith(".done"):
                if part is not None:
                    must(e.get("text", e.get("refusal")) == part["text"], kind, "is not its deltas")
            else:
                must(kind == "output_text.annotation.added", "unknown event", kind)
        must(item is None, "an item was never done")
        final = events[-1]["response"]
        must([i["id"] for i in final["output"]] == [i["id"] for i in items], "output[] is not what was streamed")
        must(final["output"] == items, "output[] differs from the items that were done:", dump(final["output"]), dump(items))
        return self.read_response(final)

    def read_error(self, status, raw):
        error = has(parse(raw), "error")["error"]
        has(error, "message", "type", "param", "code")
        return Problem(error["message"], error["type"], error["code"], error["param"], status)

    def read_stream_error(self, raw):
        name, data = sse_events(raw)[-1]
        event = parse(data)
        if name == "response.failed":
            error = has(event["response"]["error"], "code", "message")
        else:
            must(name == "error", "the last event is no error but", name)
            error = event if "message" in event else event["error"]
        return Problem(error["message"], None, error.get("code"))

    # the upstream

    def is_for_me(self, path):
        return path.endswith("/responses")

    def wants_stream(self, request):
        return bool(request.json.get("stream"))

    def understand(self, request):
        body = request.json
        messages = []
        if body.get("instructions"):
            messages.append(("system", body["instructions"]))
        items = body["input"]
        for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
            kind = item.get("type", "message")
            if kind == "function_call":
                must(isinstance(item["arguments"], str), "arguments must be a string")
                messages.append(("call", Call(item["name"], item["arguments"], item["call_id"])))
            elif kind == "function_call_output":
                output = item["output"]
                text = output if isinstance(output, str) else "".join(p.get("text", "") for p in output)
                messages.append(("result", item["call_id"], None, text))
            elif kind == "message":
                role = {"developer": "system"}.get(item["role"], item["role"])
                content = item["content"]
                for p in [{"type": "input_text", "text": content}] if isinstance(content, str) else content:
                    if p["type"] == "input_image":
                        media, _, data = p["image_url"].removeprefix("data:").partition(";base64,")
                        messages.append(("image", media, data))
                    else:
                        must(p["type"] == ("output_text" if role == "assistant" else "input_text"), p["type"])
                        messages.append((role, p["text"]))
        choice = body.get("tool_choice")
        if isinstance(choice, dict):
            choice = ("tool", choice["name"])
        elif choice == "required":
            choice = "any"
        return Ask(messages=messages, model=body["model"],
                   tools=[(t["name"], t.get("description"), t.get("parameters")) for t in body.get("tools", [])],
                   tool_choice=choice, max_tokens=body.get("max_output_tokens"), temperature=body.get("temperature"),
                   top_p=body.get("top_p"), stop=None, reasoning=(body.get("reasoning") or {}).get("effort"),
                   schema=((body.get("text") or {}).get("format") or {}).get("schema"),
                   stream=bool(body.get("stream")))

    def usage(self, u):
        return {"input_tokens": u.input, "input_tokens_details": {"cached_tokens": u.cached},
                "output_tokens": u.output, "output_tokens_details": {"reasoning_tokens": u.reasoning},
                "total_tokens": u.input + u.output}

    def items(self, turn):
        out = []
        if turn.reasoning:
            out.append({"id": "rs_up1", "type": "reasoning",
                        "summary": [{"type": "summary_text", "text": turn.reasoning}]})
        content = []
        if turn.text:
            content.append({"type": "output_text", "text": turn.text, "annotations": [], "logprobs": []})
        if turn.refusal:
            content.append({"type": "refusal", "refusal": turn.refusal})
        if content:
            out.append({"id": "msg_up1", "type": "message", "status": "completed", "role": "assistant",
                        "content": content})
        return out + [{"id": "fc_up%d" % i, "type": "function_call", "status": "completed", "call_id": c.id,
                       "name": c.name, "arguments": c.arguments} for i, c in enumerate(turn.calls)]

    def response(self, turn, model, status, output):
        reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(turn.finish)
        done = status == "completed"
        if done and reason:
            status = "incomplete"
        return {"id": "resp_up%d" % self.serial, "object": "response", "created_at": 1700000000, "status": status,
                "background": False, "error": None,
                "incomplete_details": {"reason": reason} if status == "incomplete" else None, "instructions": None,
                "max_output_tokens": None, "max_tool_calls": None, "metadata": {}, "model": model, "output": output,
                "parallel_tool_calls": True, "previous_response_id": None, "prompt_cache_key": None,
                "reasoning": {"effort": None, "summary": None}, "safety_identifier": None, "service_tier": "default",
                "store": False, "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto",
                "tools": [], "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled",
                "usage": self.usage(turn.usage) if done else None, "user": None}

    def reply(self, turn, model="up"):
        return self.response(turn, model, "completed", self.items(turn))

    def events(self, turn, model="up", include_usage=True):
        out = []

        def event(kind, **members):
            kind = "response." + kind
            out.append(sse(dump({"type": kind, "sequence_number": len(out), **members}), kind))

        event("created", response=self.response(turn, model, "in_progress", []))
        event("in_progress", response=self.response(turn, model, "in_progress", []))
        items = self.items(turn)
        for i, item in enumerate(items):
            at = {"item_id": item["id"], "output_index": i}
            blank = dict(item)
            if item["type"] == "reasoning":
                blank["summary"] = []
            elif item["type"] == "message":
                blank.update(content=[], status="in_progress")
            else:
                blank.update(arguments="", status="in_progress")
            event("output_item.added", output_index=i, item=blank)
            for n, p in enumerate(item.get("summary") or []):
                at_part = {**at, "summary_index": n}
                event("reasoning_summary_part.added", **at_part, part={**p, "text": ""})
                for s in cut(p["text"]):
                    event("reasoning_summary_text.delta", **at_part, delta=s)
                event("reasoning_summary_text.done", **at_part, text=p["text"])
                event("reasoning_summary_part.done", **at_part, part=p)
            for n, p in enumerate(item.get("content") or []):
                at_part = {**at, "content_index": n}
                member = "refusal" if p["type"] == "refusal" else "text"
                name = "refusal" if p["type"] == "refusal" else "output_text"
                event("content_part.added", **at_part, part={**p, member: ""})
                for s in cut(p[member]):
                    event(name + ".delta", **at_part, delta=s)
                event(name + ".done", **at_part, **{member: p[member]})
                event("content_part.done", **at_part, part=p)
            if item["type"] == "function_call":
                for s in cut(item["arguments"]):
                    event("function_call_arguments.delta", **at, delta=s)
                event("function_call_arguments.done", **at, arguments=item["arguments"], name=item["name"])
            event("output_item.done", output_index=i, item=item)
        final = self.response(turn, model, "completed", items)
        event(final["status"], response=final)
        return out

    def error(self, status, message, kind="invalid_request_error", code=None):
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def stream_error(self, message):
        response = self.response(Turn(), "up", "failed", [])
        response["error"] = {"code": "server_error", "message": message}
        return sse(dump({"type": "response.failed", "sequence_number": 99, "response": response}), "response.failed")
