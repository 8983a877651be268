"""Google GenAI generateContent."""
import json

from .common import Ask, Call, Problem, Turn, Usage, cut, dump, has, must, parse, sse_events

FINISH = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY",
          "refusal": "SAFETY"}
READ = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}
STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
          413: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 502: "UNAVAILABLE",
          503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


class Google:
    name = "google"
    stream_type = "text/event-stream"
    serial = 1  # in the ids of answers
    counts = {"input", "output", "cached", "reasoning"}

    # the client

    def path(self, ask):
        verb = "streamGenerateContent?alt=sse" if ask.stream else "generateContent"
        return "/v1beta/models/%s:%s" % (ask.model, verb)

    def request(self, ask):
        contents, system, names = [], [], {}

        def part(role, p):
            if contents and contents[-1]["role"] == role:
                contents[-1]["parts"].append(p)
            else:
                contents.append({"role": role, "parts": [p]})

        for m in ask.messages:
            if m[0] == "system":
                system.append({"text": m[1]})
            elif m[0] == "call":
                names[m[1].id] = m[1].name
                part("model", {"functionCall": {"id": m[1].id, "name": m[1].name, "args": json.loads(m[1].arguments)}})
            elif m[0] == "result":
                part("user", {"functionResponse": {"id": m[1], "name": m[2], "response": {"output": m[3]}}})
            elif m[0] == "image":
                part("user", {"inlineData": {"mimeType": m[1], "data": m[2]}})
            else:
                part({"assistant": "model"}.get(m[0], m[0]), {"text": m[1]})
        config = {key: value for key, value in (
            ("maxOutputTokens", ask.max_tokens), ("temperature", ask.temperature), ("topP", ask.top_p),
            ("stopSequences", ask.stop)) if value is not None}
        if ask.reasoning:
            config["thinkingConfig"] = {"includeThoughts": True, "thinkingBudget": 1024}
        if ask.schema:
            config["responseMimeType"] = "application/json"
            config["responseJsonSchema"] = ask.schema
        body = {"contents": contents, "generationConfig": config}
        if system:
            body["systemInstruction"] = {"parts": system}
        if ask.tools:
            body["tools"] = [{"functionDeclarations": [
                {"name": n, "description": d, "parametersJsonSchema": s} for n, d, s in ask.tools]}]
        if ask.tool_choice is not None:
            calling = ({"mode": "ANY", "allowedFunctionNames": [ask.tool_choice[1]]}
                       if isinstance(ask.tool_choice, tuple) else {"mode": ask.tool_choice.upper()})
            body["toolConfig"] = {"functionCallingConfig": calling}
        return body

    def read_usage(self, u):
        has(u, "promptTokenCount", "totalTokenCount")
        thoughts = u.get("thoughtsTokenCount") or 0
        out = Usage(u["promptTokenCount"], (u.get("candidatesTokenCount") or 0) + thoughts,
                    u.get("cachedContentTokenCount") or 0, thoughts)
        must(u["totalTokenCount"] == out.input + out.output, "totalTokenCount", dump(u))
        return out

    def read_part(self, turn, part):
        if "functionCall" in part:
            call = has(part["functionCall"], "name")
            must(isinstance(call.get("args", {}), dict), "args must be an object")
            turn.calls.append(Call(call["name"], dump(call.get("args", {})), call.get("id")))
        elif part.get("thought"):
            must(not turn.text, "thought after text")
            turn.reasoning += part["text"]
        else:
            turn.text += has(part, "text")["text"]

    def take(self, turn, r):
        has(r, "candidates", "modelVersion", "responseId")
        candidate = has(r["candidates"][0], "content")
        must(candidate.get("index", 0) == 0, "index")
        must(candidate["content"].get("role") == "model", "role", dump(candidate))
        for part in candidate["content"].get("parts") or []:
            self.read_part(turn, part)
        if candidate.get("finishReason"):
            must(turn.finish is None, "two finishReasons")
            turn.finish = READ[candidate["finishReason"]]
        if "usageMetadata" in r:
            turn.usage = self.read_usage(r["usageMetadata"])
        turn.id, turn.model = r["responseId"], r["modelVersion"]

    def end(self, turn):
        must(turn.finish, "no finishReason")
        must(turn.usage, "no usageMetadata")
        if turn.calls and turn.finish == "stop":
            turn.finish = "tool_calls"
        return turn

    def read(self, raw):
        turn = Turn(finish=None, usage=None)
        self.take(turn, parse(raw))
        return self.end(turn)

    def read_stream(self, raw):
        turn, ids = Turn(finish=None, usage=None), set()
        for name, data in sse_events(raw):
            must(name in (None, "message"), "named event:", name)
            must(turn.finish is None, "a chunk after finishReason")
            self.take(turn, parse(data))
            ids.add(turn.id)
        must(len(ids) == 1, "responseId changes:", ids)
        return self.end(turn)

    def read_error(self, status, raw):
        error = has(parse(raw), "error")["error"]
        has(error, "code", "message", "status")
        must(error["code"] == status or status == 200, "code", error["code"], "status", status)
        return Problem(error["message"], error["status"], error["code"], status=status)

    def read_stream_error(self, raw):
        return self.read_error(200, sse_events(raw)[-1][1])

    # the upstream

    def is_for_me(self, path):
        return path.endswith((":generateContent", ":streamGenerateContent"))

    def wants_stream(self, request):
        return request.path.endswith(":streamGenerateContent")

    def understand(self, request):
        body = request.json
        messages = []
        for part in (body.get("systemInstruction") or {}).get("parts") or []:
            messages.append(("system", part["text"]))
        last = None
        for content in body["contents"]:
            must(content["role"] in ("user", "model"), "role", content["role"])
            must(content["role"] != last, "two", last, "contents in a row")
            last = content["role"]
            must(content["parts"], "empty parts")
            for p in content["parts"]:
                if "functionCall" in p:
                    c = p["functionCall"]
                    messages.append(("call", Call(c["name"], dump(c.get("args", {})), c.get("id"))))
                elif "functionResponse" in p:
                    r = p["functionResponse"]
                    must(isinstance(r["response"], dict), "response must be an object")
                    value = r["response"].get("output", r["response"].get("result", r["response"]))
                    messages.append(("result", r.get("id"), r["name"],
                                     value if isinstance(value, str) else dump(value)))
                elif "inlineData" in p:
                    messages.append(("image", p["inlineData"]["mimeType"], p["inlineData"]["data"]))
                elif not p.get("thought"):
                    messages.append(({"model": "assistant"}.get(content["role"], content["role"]), p["text"]))
        config = body.get("generationConfig") or {}
        tools = []
        for element in body.get("tools") or []:
            for d in element.get("functionDeclarations") or []:
                tools.append((d["name"], d.get("description"), d.get("parametersJsonSchema", d.get("parameters"))))
        calling = (body.get("toolConfig") or {}).get("functionCallingConfig")
        choice = None
        if calling:
            names = calling.get("allowedFunctionNames")
            choice = ("tool", names[0]) if names else calling["mode"].lower()
        return Ask(messages=messages, model=request.path.split("/models/")[1].split(":")[0], tools=tools,
                   tool_choice=choice, max_tokens=config.get("maxOutputTokens"), temperature=config.get("temperature"),
                   top_p=config.get("topP"), stop=config.get("stopSequences"),
                   reasoning=config.get("thinkingConfig"),
                   schema=config.get("responseJsonSchema", config.get("responseSchema")),
                   stream=self.wants_stream(request))

    def usage(self, u):
        out = {"promptTokenCount": u.input, "candidatesTokenCount": u.output - u.reasoning,
               "totalTokenCount": u.input + u.output}
        if u.cached:
            out["cachedContentTokenCount"] = u.cached
        if u.reasoning:
            out["thoughtsTokenCount"] = u.reasoning
        return out

    def chunk(self, parts, model, finish=None, usage=None):
        candidate = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        out = {"candidates": [candidate], "modelVersion": model, "responseId": "resp-up%d" % self.serial}
        if usage:
            out["usageMetadata"] = self.usage(usage)
        return out

    def calls(self, turn):
        return [{"functionCall": {"name": c.name, "args": json.loads(c.arguments)}} for c in turn.calls]

    def reply(self, turn, model="up"):
        parts = [{"text": turn.reasoning, "thought": True}] if turn.reasoning else []
        if turn.text or turn.refusal:
            parts.append({"text": turn.text or turn.refusal})
        return self.chunk(parts + self.calls(turn), model, FINISH[turn.finish], turn.usage)

    def events(self, turn, model="up", include_usage=True):
        parts = [{"text": s, "thought": True} for s in cut(turn.reasoning)]
        parts += [{"text": s} for s in cut(turn.text or turn.refusal)] + self.calls(turn)
        chunks = [self.chunk([p], model) for p in parts[:-1]]
        chunks.append(self.chunk(parts[-1:], model, FINISH[turn.finish], turn.usage))
        return [("data: %s\r\n\r\n" % dump(c)).encode() for c in chunks]

    def error(self, status, message, kind=None, code=None):
        return {"error": {"code": status, "message": message, "status": STATUS.get(status, "INTERNAL")}}

    def stream_error(self, message):
        return ("data: %s\r\n\r\n" % dump(self.error(500, message))).encode()
