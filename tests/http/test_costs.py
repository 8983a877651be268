"""Costs by hour, day and month in any zone: the sums are those of the ledger's lines, to the millisecond, whatever clock they are counted by."""
import datetime
import random
import sqlite3
import zoneinfo

import pytest
from conftest import basic_config
from gateway import Sluice

ADMIN = "sk-admin-0123456789abcdef0123456789"
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
# half and quarter hours; clocks that are put back in the span, two of them by half an hour or at midnight
ZONES = ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Australia/Adelaide", "Australia/Lord_Howe", "Pacific/Chatham", "America/Santiago",
         "Europe/Berlin")
BEGIN, END = datetime.datetime(2026, 3, 20, tzinfo=UTC), datetime.datetime(2026, 5, 3, tzinfo=UTC)


def ms_of(when):
    return (when - EPOCH) // datetime.timedelta(milliseconds=1)


def local(zone, ms):
    return (EPOCH + datetime.timedelta(milliseconds=ms)).astimezone(zoneinfo.ZoneInfo(zone))


def span(zone, bucket, ms):
    """What names the span that a moment lies in, by the clocks of the place."""
    t = local(zone, ms)
    return {"total": (), "hour": (t.date(), t.hour, t.utcoffset()), "day": t.date(), "month": (t.year, t.month)}[bucket]


def made_lines(dice):
    """Everywhere, and close about midnights, full hours and changes of the clocks: at them, a millisecond before and behind."""
    moments = [ms_of(BEGIN) + dice.randrange(ms_of(END) - ms_of(BEGIN)) for _ in range(300)]
    for zone in ZONES:
        for day in (datetime.date(2026, 3, 29), datetime.date(2026, 4, 1), datetime.date(2026, 4, 5), datetime.date(2026, 5, 1)):
            for hour in (0, dice.randrange(24)):
                at = ms_of(datetime.datetime(day.year, day.month, day.day, hour, tzinfo=zoneinfo.ZoneInfo(zone)).astimezone(UTC))
                moments += [at - 1, at, at + 1, at + dice.randrange(1_800_000)]
    moments += [ms_of(datetime.datetime(2026, 4, 4, 15, 0, tzinfo=UTC)) + d for d in (-1_800_000, -1, 0, 1_799_999, 1_800_000)]  # Lord Howe's clocks go back
    lines = []
    for n, ms in enumerate(sorted(set(moments))):
        entry = dice.choice((1, 1, 1, 1, 2, 3))
        amount = dice.randrange(-10**9, 10**9) if entry > 1 else dice.choice((None, dice.randrange(10**9)))
        lines.append({"id": (ms * 1000 + dice.randrange(1000)) << 9 | n % 3, "ms": ms, "entry": entry, "kind": dice.randrange(1, 4), "amount": amount,
                      "stated": dice.choice((None, 5)) if entry == 1 else None, "input": dice.randrange(1000), "cache_read": dice.randrange(9), "output": dice.randrange(99)})
    return lines


def write(path, lines):
    db = sqlite3.connect(path)
    for kind in (1, 2, 3):
        db.execute("INSERT INTO ledger_kind(id, key, org, user, tags, model, upstream, upstream_model) VALUES(?, 'k', '', '', '', ?, 'u', 'x')", (kind, "m%d" % kind))
    zeros = ("cache_write_5m", "cache_write_1h", "audio_in", "reasoning", "audio_out", "image", "search", "request", "ended", "quality", "service", "price", "state")
    for x in lines:
        db.execute("INSERT INTO ledger(id, request_id, entry, kind, amount, stated, input, cache_read, output, %s) VALUES(:id, 'r', :entry, :kind, :amount, :stated, "
                   ":input, :cache_read, :output, %s)" % (",".join(zeros), ",".join("0" for _ in zeros)), x)
    db.execute("INSERT INTO ledger_hour(hour, kind, n, unpriced, amount, stated, stated_n, tokens_in, cached, tokens_out) SELECT (id >> 9) / 3600000000, kind, "
               "sum(entry = 1), sum(entry = 1 AND amount IS NULL), coalesce(sum(amount), 0), coalesce(sum(stated), 0), count(stated), sum(input + cache_read), "
               "sum(cache_read), sum(output) FROM ledger GROUP BY 1, 2")
    db.commit()
    db.close()


def sums_of(lines):
    settled = [x for x in lines if x["entry"] == 1]
    unpriced = [x for x in settled if x["amount"] is None]
    cost = sum(x["amount"] or 0 for x in lines)
    return {"requests": len(settled), "unpriced": len(unpriced), "cost_nanousd": None if settled and len(unpriced) == len(settled) and cost == 0 else cost,
            "stated_nanousd": sum(x["stated"] or 0 for x in lines), "stated_requests": sum(x["stated"] is not None for x in lines),
            "input_tokens": sum(x["input"] + x["cache_read"] for x in lines), "cached_tokens": sum(x["cache_read"] for x in lines),
            "output_tokens": sum(x["output"] for x in lines)}


@pytest.fixture(scope="module")
def books(scripted, calls, tmp_path_factory):
    folder = tmp_path_factory.mktemp("costs")
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000000", "key": ADMIN, "scopes": ["admin"]})
    Sluice(folder, config, calls).stop()
    lines = made_lines(random.Random(1))
    write(folder / "data" / "sluice.db", lines)
    s = Sluice(folder, None, calls)
    yield s, lines
    s.stop()


def text(ms):
    return (EPOCH + datetime.timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("zone", ZONES)
def test_sums_in_any_zone_are_those_of_the_lines(books, zone):
    s, lines = books
    dice = random.Random(zone)
    for bucket in ("hour", "day", "month", "total"):
        for has_from, has_to, model in ((False, False, None), (True, True, None), (True, False, "m2"), (False, True, "m1")):
            query = {"bucket": bucket, "time_zone": zone, "group_by": "model"}
            begin, end = sorted(x["ms"] + dice.choice((0, 1)) for x in dice.sample(lines, 2))
            if has_from:
                query["from"] = text(begin)
            if has_to:
                query["to"] = text(end)
            if model:
                query["model"] = model
            counted = [x for x in lines if (not has_from or x["ms"] >= begin) and (not has_to or x["ms"] < end) and (not model or x["kind"] == int(model[1]))]
            groups = {}
            for x in counted:
                groups.setdefault((span(zone, bucket, x["ms"]), "m%d" % x["kind"]), []).append(x)
            r = s.call("GET", "/sluice/v1/costs", params=query, headers=s.auth(ADMIN))
            assert r.status_code == 200, r.text
            told = {}
            for row in r.json()["data"]:
                at = row.pop("at")
                name = ()
                if bucket != "total":
                    at = ms_of(datetime.datetime.fromisoformat(at.replace("Z", "+00:00")))
                    name = span(zone, bucket, at)
                    assert span(zone, bucket, at - 1) != name, "its first moment: %s" % row
                assert (name, row["model"]) not in told
                told[name, row.pop("model")] = row
            assert told == {name: sums_of(group) for name, group in groups.items()}, query
            whole = sums_of(counted)
            assert [r.json()[n] for n in ("total_nanousd", "requests", "input_tokens", "output_tokens")] == [
                whole[n] for n in ("cost_nanousd", "requests", "input_tokens", "output_tokens")]


def test_the_books_it_was_made_of_hold(books):
    s, lines = books
    r = s.call("GET", "/sluice/v1/ledger/verify", headers=s.auth(ADMIN)).json()
    assert (r["wrong_hours"], r["lines"]) == (0, sum(x["entry"] == 1 for x in lines))


def test_a_day_of_half_hours_begins_where_its_budget_does(books):
    s, lines = books
    begin = datetime.datetime(2026, 4, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Kolkata")).astimezone(UTC)
    assert begin.minute == 30
    query = {"bucket": "day", "time_zone": "Asia/Kolkata", "from": text(ms_of(begin)), "to": text(ms_of(begin) + 86_400_000)}
    row, = s.call("GET", "/sluice/v1/costs", params=query, headers=s.auth(ADMIN)).json()["data"]
    assert ms_of(datetime.datetime.fromisoformat(row["at"].replace("Z", "+00:00"))) == ms_of(begin)
    assert row["requests"] == sum(x["entry"] == 1 and 0 <= x["ms"] - ms_of(begin) < 86_400_000 for x in lines) > 0
