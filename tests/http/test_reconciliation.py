"""Errors that were sown into books and bills, through the exports of three vendors: each is found, named, and told to the last nano-USD."""
import datetime
import json
import sqlite3

import pytest
from conftest import basic_config
from gateway import KEY, Sluice, wait_for
from upstream import http

ADMIN = "sk-admin-0123456789abcdef0123456789"
USES = 4  # of each model
INPUT, CACHED, OUTPUT, COST = 1000, 200, 100, 1_900_000  # of one use: 800 at 1 USD, 200 at half of it, 100 at ten, for a million
KINDS = ("right", "missing", "unbilled", "duplicate", "tokens", "price", "rounding", "unpriced", "ours")
PROVIDERS = {"chat": {"type": "openai-compatible", "base": "/v1"}, "anthropic": {"type": "anthropic", "base": ""}, "router": {"type": "openrouter", "base": "/api/v1"}}


def config(origin):
    made = basic_config(origin)
    made["server"]["api_keys"].append({"id": "ad000000", "key": ADMIN, "scopes": ["admin"]})
    made["models"] = {}
    made["providers"] = {name: {"type": p["type"], "api_key": "sk-up-0123456789", "base_url": origin + p["base"]} for name, p in PROVIDERS.items()}
    made["prices"] = {name + "/ok-*": {"input": 1, "output": 10, "cache_read": 0.5} for name in PROVIDERS}
    return made


def admin(s, method, path, body=None, **options):
    r = s.call(method, path, body, headers=s.auth(ADMIN), **options)
    assert r.status_code == 200, r.text
    return r.json()


async def answer(conn, request):
    """In the format that is asked for, with the same use each time."""
    if request.path.endswith("/messages"):
        body = {"id": "m", "type": "message", "role": "assistant", "model": request.json["model"], "stop_reason": "end_turn", "content": [{"type": "text", "text": "hi"}],
                "usage": {"input_tokens": INPUT - CACHED, "cache_read_input_tokens": CACHED, "output_tokens": OUTPUT}}
    else:
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": request.json["model"],
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT, "prompt_tokens_details": {"cached_tokens": CACHED}}}
    await http(200, json.dumps(body))(conn, request)


def name_of(kind):
    return kind if kind == "unpriced" else "ok-" + kind


@pytest.fixture(scope="module")
def books(scripted, calls, tmp_path_factory):
    """A sluice whose ledger has every model's uses, and of one of them a line that was written twice."""
    folder = tmp_path_factory.mktemp("books")
    scripted.reset()
    scripted.play(answer)
    s = Sluice(folder, config(scripted.origin), calls)
    for provider in PROVIDERS:
        for kind in KINDS:
            for _ in range(USES):
                r = s.post("/v1/chat/completions", {"model": "%s/%s" % (provider, name_of(kind)), "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]},
                           headers=s.auth(KEY))
                assert r.status_code == 200, r.text
    everything = len(PROVIDERS) * len(KINDS) * USES
    wait_for(lambda: len(admin(s, "GET", "/sluice/v1/ledger", params={"limit": 1000})["data"]) == everything, "all lines", 30)
    s.stop()
    db = sqlite3.connect(folder / "data" / "sluice.db")
    columns = [c[1] for c in db.execute("PRAGMA table_info(ledger)") if c[1] != "id"]
    for provider in PROVIDERS:  # the first line of that model again, a moment later
        db.execute("INSERT INTO ledger(id,%s) SELECT l.id + 1 * 512, %s FROM ledger l JOIN ledger_kind k ON k.id = l.kind WHERE k.upstream = ? AND k.upstream_model = ? "
                   "ORDER BY l.id LIMIT 1" % (",".join(columns), ",".join("l." + c for c in columns)), (provider, name_of("duplicate")))
        assert db.execute("SELECT changes()").fetchone()[0] == 1
    db.commit()
    db.close()
    s = Sluice(folder, None, calls)
    yield s
    s.stop()
    scripted.reset()


def vendors_truth(s, provider):
    """What its bill says, {(day, model): {…}}: what was used, but for the errors; and what each of them comes to."""
    bill, errors = {}, {}
    for line in admin(s, "GET", "/sluice/v1/ledger", params={"limit": 1000})["data"]:
        if line["provider"] != provider:
            continue
        row = bill.setdefault((line["at"][:10], line["upstream_model"]), {"n": 0, "in": 0, "cached": 0, "out": 0, "cost": 0})
        for k, v in (("n", 1), ("in", INPUT), ("cached", CACHED), ("out", OUTPUT), ("cost", COST)):
            row[k] += v

    def more(row, n):
        for k, v in (("n", 1), ("in", INPUT), ("cached", CACHED), ("out", OUTPUT), ("cost", COST)):
            row[k] += n * v
    for kind in KINDS:
        at = next(k for k in sorted(bill) if k[1] == name_of(kind))
        row = bill[at]
        if kind in ("missing", "unbilled", "duplicate"):
            n = {"missing": 1, "unbilled": -1, "duplicate": -1}[kind]
            more(row, n)
            errors[at] = ({"missing": "missing_requests"}.get(kind, kind), n * COST)
        elif kind == "tokens":
            row["out"] += 100
            row["cost"] += 1_000_000
            errors[at] = ("token_counts", 1_000_000)
        elif kind == "price":
            row["cost"] += 123_000
            errors[at] = ("price", 123_000)
        elif kind == "rounding":  # to a whole cent
            cents = (row["cost"] + 5_000_000) // 10_000_000 * 10_000_000
            errors[at] = ("rounding", cents - row["cost"])
            row["cost"] = cents
        elif kind == "unpriced":
            errors[at] = ("unpriced", row["cost"])
        elif kind == "ours":
            errors[at] = ("unbilled", -row["cost"])
            del bill[at]
    today = max(bill)[0]
    bill[(today, "ok-theirs")] = {"n": 2, "in": 2 * INPUT, "cached": 2 * CACHED, "out": 2 * OUTPUT, "cost": 2 * COST}
    errors[(today, "ok-theirs")] = ("missing_requests", 2 * COST)
    return bill, errors


def usd(nanousd):
    return "%d.%09d" % divmod(nanousd, 1_000_000_000)


def seconds(day):
    return int(datetime.datetime.fromisoformat(day + "T00:00:00+00:00").timestamp())


def openai(bill):
    usage = [{"object": "bucket", "start_time": seconds(day), "results": [
        {"object": "organization.usage.completions.result", "model": model + "-2026-01-01", "num_model_requests": r["n"], "input_tokens": r["in"],
         "input_cached_tokens": r["cached"], "output_tokens": r["out"]}]} for (day, model), r in bill.items()]
    costs = [{"object": "bucket", "start_time": seconds(day), "results": [
        {"object": "organization.costs.result", "amount": {"value": json.loads(usd(part), parse_float=str), "currency": "usd"}, "line_item": "%s, %s" % (model, what)}
        for what, part in (("input", r["cost"] // 3), ("output", r["cost"] - r["cost"] // 3))]} for (day, model), r in bill.items()]
    return [{"object": "page", "data": usage}, {"object": "page", "data": costs}]


def anthropic(bill):
    usage = [{"starting_at": day + "T00:00:00Z", "results": [
        {"model": model + "-20260101", "uncached_input_tokens": r["in"] - r["cached"], "cache_read_input_tokens": r["cached"],
         "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0}, "output_tokens": r["out"]}]} for (day, model), r in bill.items()]
    costs = [{"starting_at": day + "T00:00:00Z", "results": [{"model": model, "amount": "%d.%07d" % divmod(r["cost"], 10_000_000), "currency": "USD"}]}
             for (day, model), r in bill.items()]
    return [{"data": usage}, {"data": costs}]


def openrouter(bill):
    return [{"data": [{"date": day, "model": model, "usage": json.loads(usd(r["cost"]), parse_float=str), "requests": r["n"], "prompt_tokens": r["in"],
                       "completion_tokens": r["out"]} for (day, model), r in bill.items()]}]


def openrouter_csv(bill):
    return ["date,model,usage,requests,prompt_tokens,completion_tokens,tokens_cached\n" + "".join(
        '%s,"%s",%s,%d,%d,%d,%d\n' % (day, model, usd(r["cost"]), r["n"], r["in"], r["out"], r["cached"]) for (day, model), r in bill.items())]


@pytest.mark.parametrize("provider, write, tells_requests", [("chat", openai, True), ("anthropic", anthropic, False), ("router", openrouter, True), ("router", openrouter_csv, True)])
def test_every_sown_error_is_attributed(books, provider, write, tells_requests):
    bill, errors = vendors_truth(books, provider)
    for export in write(bill) * 2:  # read in again, it takes its own place
        kind = {"Content-Type": "text/csv"} if isinstance(export, str) else {}
        r = books.call("POST", "/sluice/v1/reconciliation/import", export if isinstance(export, str) else json.dumps(export),
                       headers={**books.auth(ADMIN), **kind}, params={"provider": provider})
        assert r.status_code == 200, r.text
    rows = {(x["day"], x["model"]): x for x in admin(books, "GET", "/sluice/v1/reconciliation", params={"provider": provider})["data"]}
    assert set(rows) == set(bill) | set(errors)
    for at, row in rows.items():
        cause, amount = errors.get(at, (None, 0))
        # Anthropic tells no numbers of requests: one more or less is one more or less in all counts, but for what only one side has
        if not tells_requests and cause in ("missing_requests", "unbilled", "duplicate") and at[1] not in ("ok-theirs", "ok-ours"):
            cause = "token_counts"
        assert (row["cause"], {p["cause"]: p["nanousd"] for p in row["parts"]}) == (cause, {cause: amount} if cause else {}), (at, row)
        assert (row["vendor_nanousd"] or 0) - (row["ours_nanousd"] or 0) == amount, (at, row)
