/* cmd_top.c - sluice top: what a running server is doing, drawn anew every second. Reads the API of that server and nothing else. */
#include "app/cli.h"
#include "base/banned.h"
#include "base/clock.h"
#include "domain/setting.h"
#include "http/fetch.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define SECONDS 60.0 /* what rates are means of, at most */
#define HOUR 3600.0
#define USUAL_WIDTH 100
#define USUAL_HEIGHT 40
#define TIMEOUT_MS 5000
#define MAX_ANSWER (32u << 20)

struct top {
    struct arena *arena; /* of one round */
    struct str url, key;
    yyjson_val *info, *series, *active, *problems;
    struct str texts[4]; /* of these, as they came */
    int width, height;
    double span;   /* seconds that rates are means of */
    bool is_plain; /* no terminal: no colours, no limit of lines */
    struct buf out;
    int line;
};

static volatile sig_atomic_t is_over, is_resized;

static void on_signal(int number)
{
    if (number == SIGWINCH)
        is_resized = 1;
    else
        is_over = 1;
}

/* ---- what the server says ---- */

static bool get(struct top *t, const char *path, yyjson_val **root, struct str *text, struct err *e)
{
    struct http_header h = {STR("authorization"),
                            str_fmt(t->arena, "Bearer " STR_FMT, STR_ARG(t->key))};
    struct fetch f = {.method = HTTP_GET,
                      .url = str_fmt(t->arena, STR_FMT "%s", STR_ARG(t->url), path),
                      .headers = &h,
                      .n_headers = t->key.n ? 1 : 0,
                      .timeout_ms = TIMEOUT_MS,
                      .max_bytes = MAX_ANSWER,
                      .allow_private = true};
    struct fetched got;
    if (!fetch_run(t->arena, &f, &got, e))
        return false;
    if (got.status == 401 || got.status == 403)
        return err_set(e, ERR_UNAUTHENTICATED, "refused",
                       STR_FMT " asks for a key that may read the control plane: give --api-key or "
                               "SLUICE_ADMIN_KEY (HTTP %d)",
                       STR_ARG(t->url), got.status);
    if (got.status != 200)
        return err_set(e, ERR_UPSTREAM, "refused", STR_FMT "%s answers with HTTP %d",
                       STR_ARG(t->url), path, got.status);
    *text = got.body;
    return json_parse(t->arena, got.body, 0, root, e);
}

static bool read_all(struct top *t, struct err *e)
{
    return get(t, "/sluice/v1/info", &t->info, &t->texts[0], e) &&
           get(t, "/sluice/v1/metrics/series?seconds=60", &t->series, &t->texts[1], e) &&
           get(t, "/sluice/v1/requests/active", &t->active, &t->texts[2], e) &&
           get(t, "/sluice/v1/problems?sort=severity&limit=100", &t->problems, &t->texts[3], e);
}

static double number(yyjson_val *object, const char *key)
{
    double v = 0;
    yyjson_val *found = json_get(object, key);
    return found && json_double(found, &v) ? v : 0;
}

/* ---- drawing ---- */

static bool has_room(const struct top *t, int lines)
{
    return t->is_plain || t->line + lines < t->height;
}

static void end_line(struct top *t)
{
    buf_str_add(&t->out, t->is_plain ? STR("\n") : STR("\x1b[K\n"));
    t->line++;
}

/* Exactly so many columns; names are other people's: nothing in them steers the terminal. */
static void cell(struct top *t, struct str text, int width)
{
    int used = 0;
    for (size_t i = 0; i < text.n && used < width; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x20 || c == 0x7f) {
            buf_char(&t->out, '?');
            used++;
        } else if (c < 0x80 || !str_valid_utf8(text)) {
            buf_char(&t->out, c < 0x80 ? (char)c : '?');
            used++;
        } else {
            size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
            bool is_control = c == 0xc2 && (unsigned char)text.p[i + 1] < 0xa0;
            if (is_control)
                buf_char(&t->out, '?');
            else
                buf_add(&t->out, text.p + i, n);
            i += n - 1;
            used++;
        }
    }
    for (; used < width; used++)
        buf_char(&t->out, ' ');
}

static void right(struct top *t, const char *text, int width)
{
    buf_fmt(&t->out, " %*s", width - 1, text);
}

static const char *short_number(struct top *t, double v)
{
    if (v >= 1e6)
        return str_fmt(t->arena, "%.1fM", v / 1e6).p;
    if (v >= 1e4)
        return str_fmt(t->arena, "%.1fk", v / 1e3).p;
    return str_fmt(t->arena, v == 0 || v >= 100 ? "%.0f" : v >= 10 ? "%.1f" : "%.2f", v).p;
}

static const char *short_ms(struct top *t, double ms)
{
    if (ms >= 60000)
        return str_fmt(t->arena, "%.1fm", ms / 60000).p;
    if (ms >= 1000)
        return str_fmt(t->arena, "%.1fs", ms / 1000).p;
    return str_fmt(t->arena, ms >= 10 ? "%.0fms" : "%.1fms", ms).p;
}

/* Dollars. A price that nobody knows is no price of nothing: `?`, and `+` behind a sum that lacks some. */
static const char *short_usd(struct top *t, double nanousd, bool is_unknown)
{
    double usd = nanousd / 1e9;
    if (usd <= 0)
        return is_unknown ? "?" : "$0";
    const char *text = usd >= 1e4     ? str_fmt(t->arena, "$%s", short_number(t, usd)).p
                       : usd >= 100   ? str_fmt(t->arena, "$%.0f", usd).p
                       : usd >= 1     ? str_fmt(t->arena, "$%.2f", usd).p
                       : usd >= 0.001 ? str_fmt(t->arena, "$%.4f", usd).p
                                      : str_fmt(t->arena, "$%.1g", usd).p;
    return is_unknown ? str_fmt(t->arena, "%s+", text).p : text;
}

static void style(struct top *t, const char *code)
{
    if (!t->is_plain)
        buf_fmt(&t->out, "\x1b[%sm", code);
}

struct sums {
    double requests, errors, in, out, busy_ms, ttft_ms, ttft_n, nanousd, unpriced;
};

static struct sums sums_of(yyjson_val *points)
{
    struct sums s = {0};
    size_t i, n;
    yyjson_val *p;
    yyjson_arr_foreach (points, i, n, p) {
        double requests = number(p, "requests");
        s.requests += requests;
        s.errors += number(p, "errors");
        s.in += number(p, "tokens_in");
        s.out += number(p, "tokens_out");
        s.nanousd += number(p, "cost_nanousd");
        s.unpriced += number(p, "unpriced");
        s.busy_ms += number(p, "avg_ms") * requests;
        if (number(p, "ttft_ms") > 0) {
            s.ttft_ms += number(p, "ttft_ms") * requests;
            s.ttft_n += requests;
        }
    }
    return s;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static void head(struct top *t)
{
    int64_t up = (int64_t)number(t->info, "uptime_seconds");
    struct str version = json_get_str(t->info, "version");
    struct buf b;
    buf_init_arena(&b, t->arena, 256);
    clock_rfc3339(&b, clock_wall_ms());
    style(t, "1");
    cell(t,
         str_fmt(t->arena,
                 "sluice " STR_FMT "   up %lldd %02lld:%02lld:%02lld   " STR_FMT "   %.8s",
                 STR_ARG(version), (long long)(up / 86400), (long long)(up / 3600 % 24),
                 (long long)(up / 60 % 60), (long long)(up % 60), STR_ARG(t->url), b.p + 11),
         t->width);
    style(t, "0");
    end_line(t);
}

/* As many lines as it takes: what does not fit behind the rest begins the next one. */
static void summary(struct top *t)
{
    struct sums s = sums_of(json_get(t->series, "series"));
    const struct str parts[] = {
        str_fmt(t->arena, "%s req/s", short_number(t, s.requests / t->span)),
        str_fmt(t->arena, "errors %.1f%%", 100 * ratio(s.errors, s.requests)),
        str_fmt(t->arena, "tokens/s %s in, %s out", short_number(t, s.in / t->span),
                short_number(t, s.out / t->span)),
        str_fmt(t->arena, "latency %s", short_ms(t, ratio(s.busy_ms, s.requests))),
        str_fmt(t->arena, "first token %s", short_ms(t, ratio(s.ttft_ms, s.ttft_n))),
        str_fmt(t->arena, "cost/h %s", short_usd(t, s.nanousd / t->span * HOUR, s.unpriced > 0)),
        str_fmt(t->arena, "in flight %.0f", number(t->series, "in_flight")),
        str_fmt(t->arena, "streams %.0f", number(t->series, "active_streams"))};
    const struct str gap = STR("   ");
    struct str line = parts[0];
    for (size_t i = 1; i < ARRAY_LEN(parts); i++) {
        if (line.n + gap.n + parts[i].n <= (size_t)t->width) {
            line = str_cat(t->arena, str_cat(t->arena, line, gap), parts[i]);
            continue;
        }
        cell(t, line, t->width);
        end_line(t);
        line = parts[i];
        if (!has_room(t, 1))
            return;
    }
    cell(t, line, t->width);
    end_line(t);
}

/* What is broken, the worst first. */
static void problems(struct top *t)
{
    yyjson_val *all = json_get(t->problems, "data"), *p;
    size_t i, n, most = t->is_plain ? SIZE_MAX : 3;
    yyjson_arr_foreach (all, i, n, p) {
        bool is_grave = str_is(json_get_str(p, "severity"), "error");
        if (i == most || !has_room(t, 1))
            break;
        style(t, is_grave ? "31" : "33");
        cell(t,
             str_fmt(t->arena, "%s " STR_FMT, is_grave ? "!!" : " !",
                     STR_ARG(json_get_str(p, "message"))),
             t->width);
        style(t, "0");
        end_line(t);
    }
}

/* A second a column, the newest at the right. */
static void curve(struct top *t)
{
    static const char *const bars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    yyjson_val *points = json_get(t->series, "series"), *p;
    size_t i, n, all = yyjson_arr_size(points);
    size_t room = t->width > 12 ? (size_t)t->width - 12 : 1;
    double most = 1;
    yyjson_arr_foreach (points, i, n, p)
        most = number(p, "requests") > most ? number(p, "requests") : most;
    buf_fmt(&t->out, "req/s %5s ", short_number(t, most));
    yyjson_arr_foreach (points, i, n, p)
        if (all - i <= room) {
            double v = number(p, "requests");
            buf_str_add(&t->out, str_of(bars[v > 0 ? 1 + (int)(7 * v / most) : 0]));
        }
    end_line(t);
}

static void table(struct top *t, const char *title, const char *list, int max)
{
    yyjson_val *rows = json_get(t->series, list), *r;
    size_t i, n;
    int name = t->width - 64;
    if (yyjson_arr_size(rows) == 0 || !has_room(t, 3))
        return;
    name = name < 12 ? 12 : name > 60 ? 60 : name;
    end_line(t);
    style(t, "7");
    cell(t, str_of(title), name);
    const char *const heads[] = {"REQ/S",  "ERRORS",  "TOK IN/S", "TOK OUT/S",
                                 "COST/H", "LATENCY", "FIRST"};
    for (size_t k = 0; k < ARRAY_LEN(heads); k++)
        right(t, heads[k], k == 2 || k == 3 ? 11 : k == 4 ? 10 : 8);
    style(t, "0");
    end_line(t);
    yyjson_arr_foreach (rows, i, n, r) {
        if ((int)i >= max || !has_room(t, 1))
            break;
        struct str id = json_get_str(r, "id"), label = json_get_str(r, "label");
        double requests = number(r, "requests");
        cell(t,
             label.n ? str_fmt(t->arena, STR_FMT " (" STR_FMT ")", STR_ARG(label), STR_ARG(id))
                     : id,
             name);
        right(t, short_number(t, requests / t->span), 8);
        if (number(r, "errors") > 0)
            style(t, "31");
        right(t, str_fmt(t->arena, "%.1f%%", 100 * ratio(number(r, "errors"), requests)).p, 8);
        style(t, "0");
        right(t, short_number(t, number(r, "tokens_in") / t->span), 11);
        right(t, short_number(t, number(r, "tokens_out") / t->span), 11);
        right(t,
              short_usd(t, number(r, "cost_nanousd") / t->span * HOUR, number(r, "unpriced") > 0),
              10);
        right(t, short_ms(t, number(r, "avg_ms")), 8);
        right(t, short_ms(t, number(r, "ttft_ms")), 8);
        end_line(t);
    }
}

static void running(struct top *t)
{
    yyjson_val *rows = json_get(t->active, "data"), *r;
    size_t i, n, count = yyjson_arr_size(rows);
    int name = (t->width - 72) / 2;
    if (count == 0 || !has_room(t, 3))
        return;
    name = name < 8 ? 8 : name > 40 ? 40 : name;
    end_line(t);
    style(t, "7");
    cell(t, str_fmt(t->arena, "SERVING %zu", count), 30);
    cell(t, STR(" MODEL"), name + 1);
    cell(t, STR(" UPSTREAM"), name + 1);
    cell(t, STR(" STATE"), 10);
    right(t, "ELAPSED", 9);
    right(t, "TOKENS", 9);
    right(t, "COST", 10);
    style(t, "0");
    end_line(t);
    yyjson_arr_foreach (rows, i, n, r) {
        if (!has_room(t, 1))
            break;
        cell(t, json_get_str(r, "id"), 30);
        buf_char(&t->out, ' ');
        cell(t, json_get_str(r, "model"), name);
        buf_char(&t->out, ' ');
        cell(t, json_get_str(r, "upstream"), name);
        buf_char(&t->out, ' ');
        cell(t, json_get_str(r, "state"), 9);
        right(t, short_ms(t, number(r, "elapsed_ms")), 9);
        right(t, short_number(t, number(r, "tokens_out")), 9);
        right(t,
              short_usd(t, number(r, "cost_nanousd"), yyjson_is_null(json_get(r, "cost_nanousd"))),
              10);
        end_line(t);
    }
}

static void draw(struct top *t)
{
    int rows = t->is_plain ? 1000 : (t->height - 12) / 4;
    rows = rows < 3 ? 3 : rows;
    double up = number(t->info, "uptime_seconds");
    t->span = up < 1 ? 1 : up < SECONDS ? up : SECONDS;
    t->line = 0;
    head(t);
    summary(t);
    problems(t);
    curve(t);
    table(t, "MODEL", "models", rows);
    table(t, "UPSTREAM", "upstreams", rows);
    table(t, "KEY", "keys", rows);
    running(t);
}

static void draw_failure(struct top *t, const struct err *e)
{
    t->line = 0;
    style(t, "1;31");
    cell(t, str_of(e->message), t->width);
    style(t, "0");
    end_line(t);
}

static void draw_json(struct top *t)
{
    static const char *const names[] = {"info", "series", "active", "problems"};
    struct jw w = jw_on(&t->out);
    jw_object(&w);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        jw_key_str(&w, str_of(names[i]));
        jw_raw(&w, t->texts[i]);
    }
    jw_object_end(&w);
    buf_char(&t->out, '\n');
}

/* ---- the terminal ---- */

static bool write_out(const struct buf *b)
{
    for (size_t done = 0; done < b->n;) {
        ssize_t n = write(STDOUT_FILENO, b->p + done, b->n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

static void measure(struct top *t)
{
    struct winsize w;
    t->width = USUAL_WIDTH;
    t->height = USUAL_HEIGHT;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 && w.ws_row > 0) {
        t->width = w.ws_col < 40 ? 40 : w.ws_col;
        t->height = w.ws_row < 6 ? 6 : w.ws_row;
    }
}

/* Until a key, a signal, or the time is over. true: go on. */
static bool wait_a_while(int64_t ms, bool has_keys)
{
    uint64_t until = clock_mono_ms() + (uint64_t)ms;
    for (uint64_t now; !is_over && !is_resized && (now = clock_mono_ms()) < until;) {
        struct pollfd in = {STDIN_FILENO, POLLIN, 0};
        char c;
        int n = poll(&in, has_keys ? 1 : 0, (int)(until - now));
        if (n <= 0)
            continue;
        if (read(STDIN_FILENO, &c, 1) != 1 || c == 'q' || c == 3 || c == 27)
            return false;
        return true; /* any other key: at once */
    }
    return !is_over;
}

static struct arena *next_round(struct top *t)
{
    t->arena = arena_new();
    buf_init_arena(&t->out, t->arena, MAX_ANSWER * 4);
    return t->arena;
}

static int once(struct top *t, bool is_json)
{
    struct err e = ERR_INIT;
    struct arena *a = next_round(t);
    bool ok = read_all(t, &e);
    if (ok && is_json)
        draw_json(t);
    else if (ok)
        draw(t);
    ok = ok && write_out(&t->out);
    arena_free(a);
    return ok || e.kind == ERR_NONE ? 0 : cli_fail(&e);
}

static void catch_signals(void)
{
    const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
    struct sigaction act = {.sa_handler = on_signal};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        (void)sigaction(numbers[i], &act, NULL);
}

static int lines_of_json(struct top *t, int64_t every_ms)
{
    catch_signals();
    for (int rc = 0; !is_over; (void)wait_a_while(every_ms, false))
        if ((rc = once(t, true)) != 0)
            return rc;
    return 0;
}

static int screen(struct top *t, int64_t every_ms)
{
    struct termios before, raw;
    bool has_keys = tcgetattr(STDIN_FILENO, &before) == 0;
    catch_signals();
    if (has_keys) {
        raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    (void)!write(STDOUT_FILENO, "\x1b[?1049h\x1b[?25l\x1b[?7l", 19);
    for (bool goes_on = true; goes_on;) {
        struct err e = ERR_INIT;
        struct arena *a = next_round(t);
        is_resized = 0;
        measure(t);
        bool ok = read_all(t, &e);
        buf_lit(&t->out, "\x1b[H");
        if (ok)
            draw(t);
        else
            draw_failure(t, &e);
        buf_lit(&t->out, "\x1b[J");
        goes_on = write_out(&t->out);
        arena_free(a);
        if (goes_on)
            goes_on = wait_a_while(every_ms, has_keys);
    }
    (void)!write(STDOUT_FILENO, "\x1b[?7h\x1b[?25h\x1b[?1049l", 19);
    if (has_keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return 0;
}

/* Where the configuration says that the server listens. */
static struct str usual_url(const struct cli *c)
{
    static struct config_sources s;
    struct err e = ERR_INIT;
    struct snapshot *snap;
    const char *given = getenv("SLUICE_URL");
    struct str host = STR("127.0.0.1");
    int64_t port = 8765;
    if (given && *given)
        return str_of(given);
    cli_sources(c, &s);
    if (state_open(&s, &e) && config_load(&s, &snap, &e)) {
        port = snap->settings.port;
        host = str_dup(c->arena, snap->settings.host);
        snapshot_unref(snap);
    }
    state_close(&s);
    if (str_is(host, "0.0.0.0") || str_is(host, "*") || host.n == 0)
        host = STR("127.0.0.1");
    if (str_is(host, "::"))
        host = STR("::1");
    return str_fmt(c->arena,
                   memchr(host.p, ':', host.n) ? "http://[" STR_FMT "]:%lld"
                                               : "http://" STR_FMT ":%lld",
                   STR_ARG(host), (long long)(c->port >= 0 ? c->port : port));
}

int cmd_top(struct cli *c)
{
    struct top t = {.url = c->url ? str_of(c->url) : usual_url(c)};
    const char *key = getenv("SLUICE_ADMIN_KEY");
    struct secret given;
    struct err e = ERR_INIT;
    if (c->api_key) {
        if (!cli_secret(c, c->api_key, &given, &e))
            return cli_fail(&e);
        t.key = secret_reveal(given);
    } else {
        t.key = str_of(key);
    }
    while (t.url.n && t.url.p[t.url.n - 1] == '/')
        t.url.n--;
    int64_t every_ms = c->interval > 0 ? c->interval : 1000;
    measure(&t);
    t.is_plain = c->once || c->json || !isatty(STDOUT_FILENO);
    if (c->once || t.is_plain)
        return c->json && !c->once ? lines_of_json(&t, every_ms) : once(&t, c->json);
    return screen(&t, every_ms);
}
