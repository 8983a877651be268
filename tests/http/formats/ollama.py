"""Ollama chat (NDJSON)."""
import json

from .common import Ask, Call, Problem, Turn, Usage, cut, dump, has, must, parse


class Ollama:
    name = "ollama"
    stream_type = "application/x-ndjson"
    serial = 1
    counts = {"input", "output"}

    # the client

    def path(self, ask):
        return "/api/chat"

    def request(self, ask):
        messages = []
        for m in ask.messages:
            if m[0] == "call":
                call = {"function": {"name": m[1].name, "arguments": json.loads(m[1].arguments)}}
                if messages and messages[-1]["role"] == "assistant":
                    messages[-1].setdefault("tool_calls", []).append(call)
                else:
                    messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
            elif m[0] == "result":
                messages.append({"role": "tool", "tool_name": m[2], "content": m[3]})
            elif m[0] == "image":
                messages[-1]["images"] = [m[2]]
            else:
                messages.append({"role": m[0], "content": m[1]})
        options = {key: value for key, value in (
            ("num_predict", ask.max_tokens), ("temperature", ask.temperature), ("top_p", ask.top_p),
            ("stop", ask.stop)) if value is not None}
        body = {"model": ask.model, "messages": messages, "stream": ask.stream, "options": options}
        if ask.tools:
            body["tools"] = [{"type": "function", "function": {"name": n, "description": d, "parameters": s}}
                             for n, d, s in ask.tools]
        if ask.reasoning:
            body["think"] = True
        if ask.schema:
            body["format"] = ask.schema
        return body

    def read_message(self, turn, message):
        must(message.get("role") == "assistant", "role")
        must(isinstance(message.get("content"), str), "content must be a string", dump(message))
        turn.text += message["content"]
        turn.reasoning += message.get("thinking") or ""
        for call in message.get("tool_calls") or []:
            must(isinstance(call["function"]["arguments"], dict), "arguments must be an object")
            turn.calls.append(Call(call["function"]["name"], dump(call["function"]["arguments"]), call.get("id")))

    def read_done(self, turn, r):
        must(r["done"] is True, "not done")
        has(r, "model", "created_at", "done_reason", "total_duration", "prompt_eval_count", "eval_count",
            "load_duration", "prompt_eval_duration", "eval_duration")
        turn.finish = r["done_reason"]
        if turn.calls and turn.finish == "stop":
            turn.finish = "tool_calls"
        turn.usage = Usage(r["prompt_eval_count"], r["eval_count"])
        turn.model = r["model"]

    def read(self, raw):
        r = has(parse(raw), "model", "created_at", "message", "done")
        turn = Turn()
        self.read_message(turn, r["message"])
        self.read_done(turn, r)
        return turn

    def read_stream(self, raw):
        text = raw.decode("utf-8")
        must(text.endswith("\n"), "the last line is not closed")
        lines = [parse(line) for line in text.split("\n")[:-1]]
        must(all(line["done"] is False for line in lines[:-1]), "done before the end")
        turn = Turn()
        for line in lines:
            has(line, "model", "created_at", "message", "done")
            must("T" in line["created_at"], "created_at", line["created_at"])
            self.read_message(turn, line["message"])
        self.read_done(turn, lines[-1])
        return turn

    def read_error(self, status, raw):
        r = has(parse(raw), "error")
        must(isinstance(r["error"], str), "error must be a string", dump(r))
        return Problem(r["error"], None, status=status)

    def read_stream_error(self, raw):
        text = raw.decode("utf-8")
        must(text.endswith("\n"), "the last line is not closed")
        return self.read_error(200, text.split("\n")[-2])

    # the upstream

    def is_for_me(self, path):
        return path.endswith("/api/chat")

    def wants_stream(self, request):
        return request.json.get("stream", True)

    def understand(self, request):
        body = request.json
        messages = []
        for m in body["messages"]:
            must(isinstance(m.get("content", ""), str), "content must be a string")
            if m["role"] == "tool":
                messages.append(("result", m.get("tool_call_id"), m.get("tool_name"), m["content"]))
                continue
            if m.get("content"):
                messages.append((m["role"], m["content"]))
            for image in m.get("images") or []:
                messages.append(("image", None, image))
            for call in m.get("tool_calls") or []:
                must(isinstance(call["function"]["arguments"], dict), "arguments must be an object")
                messages.append(("call", Call(call["function"]["name"], dump(call["function"]["arguments"]),
                                              call.get("id"))))
        options = body.get("options") or {}
        return Ask(messages=messages, model=body["model"],
                   tools=[(t["function"]["name"], t["function"].get("description"), t["function"].get("parameters"))
                          for t in body.get("tools") or []],
                   tool_choice=None, max_tokens=options.get("num_predict"), temperature=options.get("temperature"),
                   top_p=options.get("top_p"), stop=options.get("stop"), reasoning=body.get("think"),
                   schema=body.get("format"), stream=self.wants_stream(request))

    def line(self, model, **members):
        return {"model": model, "created_at": "2026-01-02T03:04:05.678901234Z", **members}

    def finish(self, turn):
        return "length" if turn.finish == "length" else "stop"

    def end(self, turn):
        return {"done": True, "done_reason": self.finish(turn), "total_duration": 5000000, "load_duration": 1000,
                "prompt_eval_count": turn.usage.input, "prompt_eval_duration": 2000, "eval_count": turn.usage.output,
                "eval_duration": 3000}

    def calls(self, turn):
        return [{"function": {"name": c.name, "arguments": json.loads(c.arguments)}} for c in turn.calls]

    def reply(self, turn, model="up"):
        message = {"role": "assistant", "content": turn.text or turn.refusal}
        if turn.reasoning:
            message["thinking"] = turn.reasoning
        if turn.calls:
            message["tool_calls"] = self.calls(turn)
        return self.line(model, message=message, **self.end(turn))

    def events(self, turn, model="up", include_usage=True):
        def line(**members):
            return (dump(self.line(model, **members)) + "\n").encode()

        out = [line(message={"role": "assistant", "content": "", "thinking": s}, done=False)
               for s in cut(turn.reasoning)]
        out += [line(message={"role": "assistant", "content": s}, done=False) for s in cut(turn.text or turn.refusal)]
        if turn.calls:
            out.append(line(message={"role": "assistant", "content": "", "tool_calls": self.calls(turn)}, done=False))
        out.append(line(message={"role": "assistant", "content": ""}, **self.end(turn)))
        return out

    def error(self, status, message, kind=None, code=None):
        return {"error": message}

    def stream_error(self, message):
        return (dump({"error": message}) + "\n").encode()
