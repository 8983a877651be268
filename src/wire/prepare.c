#include "wire/prepare.h"
#include "base/codec.h"
#include "base/map.h"
#include "wire/common.h"

#define TOOLS_MAX 2048 /* names are compared with each other */
#define PREFIX_TRIES 256

/* ---- linking ---- */
struct link_call {
    struct link_call *next;      /* in order of appearance */
    struct link_call *next_name; /* of the same name */
    struct ir_part *part;
    bool is_answered;
};
struct link_name {
    struct link_call *first, *last;
};
struct link {
    struct wire_ctx *c;
    struct map by_id, by_name;
    struct link_call *first, *last; /* first: may be answered already, skipped lazily */
};

static void link_call(struct link *l, struct ir_part *part)
{
    if (part->call_id.n == 0)
        part->call_id = wire_make_id(l->c, "call_", 24);
    struct link_call *call = ARENA_NEW(l->c->arena, struct link_call);
    call->part = part;
    if (l->last)
        l->last->next = call;
    else
        l->first = call;
    l->last = call;
    map_set(&l->by_id, part->call_id, call);
    struct link_name *name = map_get(&l->by_name, part->name);
    if (!name) {
        name = ARENA_NEW(l->c->arena, struct link_name);
        map_set(&l->by_name, part->name, name);
        name->first = call;
    } else if (name->last) {
        name->last->next_name = call;
    }
    if (!name->first)
        name->first = call;
    name->last = call;
}

/* Ids of some Google clients look like <name>_<time>_<n>, and some send that as the name. */
static struct link_call *find_by_prefix(struct link *l, struct str name)
{
    unsigned tries = 0;
    for (struct link_call *call = l->first; call && tries < PREFIX_TRIES;
         call = call->next, tries++) {
        struct str have = call->part->name;
        if (!call->is_answered && have.n > 0 && str_starts(name, have) && name.n > have.n &&
            name.p[have.n] == '_')
            return call;
    }
    return NULL;
}

static struct link_call *find_unanswered(struct link *l, struct str name)
{
    while (l->first && l->first->is_answered)
        l->first = l->first->next;
    if (name.n == 0)
        return l->first;
    struct link_name *same = map_get(&l->by_name, name);
    while (same && same->first && same->first->is_answered)
        same->first = same->first->next_name;
    if (same && same->first)
        return same->first;
    return find_by_prefix(l, name);
}

static void link_result(struct link *l, struct ir_part *part)
{
    struct link_call *call = part->call_id.n > 0 ? map_get(&l->by_id, part->call_id)
                                                 : find_unanswered(l, part->name);
    if (!call)
        return;
    call->is_answered = true;
    part->call_id = call->part->call_id;
    if (part->name.n == 0)
        part->name = call->part->name;
}

void ir_link_calls(struct wire_ctx *c, struct ir_messages *m)
{
    struct link l = {.c = c};
    map_init(&l.by_id);
    map_init(&l.by_name);
    for (struct ir_message *msg = m->first; msg; msg = msg->next)
        for (struct ir_part *p = msg->parts.first; p; p = p->next) {
            if (p->kind == IR_TOOL_CALL)
                link_call(&l, p);
            else if (p->kind == IR_TOOL_RESULT)
                link_result(&l, p);
        }
    map_done(&l.by_id);
    map_done(&l.by_name);
}

/* ---- copying and filtering ---- */
struct prep {
    struct wire_ctx *c;
    const struct wire_needs *needs;
    struct ir_request *out;
    struct ir_system **system_end; /* where the last one was added */
    bool has_lost_media;
};

static void push_part(struct ir_parts *parts, struct ir_part *p)
{
    p->next = NULL;
    if (parts->last)
        parts->last->next = p;
    else
        parts->first = p;
    parts->last = p;
    parts->n++;
}

static void push_message(struct ir_messages *list, struct ir_message *m)
{
    m->next = NULL;
    if (list->last)
        list->last->next = m;
    else
        list->first = m;
    list->last = m;
    list->n++;
}

/* Neither data nor an address. */
static bool is_hollow(const struct ir_source *s)
{
    return s->kind == IR_SOURCE_NONE || (s->kind == IR_SOURCE_URL && s->url.n == 0) ||
           (s->kind == IR_SOURCE_REF && s->ref.n == 0);
}

static bool keeps_media(struct prep *p, const struct ir_part *part)
{
    const struct wire_needs *n = p->needs;
    const struct ir_source *s = &part->source;
    const char *why = NULL;
    if (is_hollow(s) && !(part->raw && part->origin == n->target))
        why = "neither data nor an address";
    else if (n->target != WIRE_GEMINI && s->kind == IR_SOURCE_REF && wire_is_google_uri(s->ref))
        why = "a file that only Google can open";
    else if (!n->says_media || n->says_media(p->c, part))
        return true;
    if (why)
        wire_drop(p->c, why, "%s", wire_media_word(part->kind));
    p->has_lost_media = true;
    return false;
}

/* What only Anthropic lets be said of a document. */
static void drop_words_of_document(struct prep *p, const struct ir_part *part)
{
    static const char why[] = "the format has no place for it";
    enum wire_id to = p->needs->target;
    bool has_name = (to == WIRE_CHAT || to == WIRE_RESPONSES) && part->name.n == 0 &&
                    part->source.kind == IR_SOURCE_DATA && !(p->c->quirks & QUIRK_NO_FILES);
    if (to == WIRE_ANTHROPIC)
        return;
    if (part->title.n > 0 && !has_name) /* else it is the file's name */
        wire_drop(p->c, why, "document.title");
    if (part->context.n > 0)
        wire_drop(p->c, why, "document.context");
    if (part->has_citations_enabled)
        wire_drop(p->c, why, "document.citations");
}

static bool keeps(struct prep *p, const struct ir_part *part)
{
    const struct wire_needs *n = p->needs;
    switch (part->kind) {
    case IR_TEXT:
        return !(n->drops_empty_text && part->text.n == 0);
    case IR_REASONING:
        if (part->origin == n->target || (n->keeps_foreign_reasoning && part->text.n > 0))
            return true;
        wire_drop(p->c, "bound to the provider that made it", "reasoning");
        return false;
    case IR_TOOL_CALL:
        if (part->name.n == 0) {
            wire_drop(p->c, "a call without a name", "tool_call");
            return false;
        }
        if (part->call_kind != IR_CALL_HOSTED || part->origin == n->target)
            return true;
        wire_drop(p->c, "a tool of another provider", "%.*s", STR_ARG(part->name));
        return false;
    case IR_OPAQUE: {
        if (part->origin == n->target)
            return true;
        struct str type = json_get_str(part->raw, "type");
        wire_drop(p->c, "known only to the format it came from", STR_FMT,
                  STR_ARG(type.n > 0 ? type : STR("part")));
        return false;
    }
    case IR_FILE:
        drop_words_of_document(p, part);
        return keeps_media(p, part);
    case IR_IMAGE:
    case IR_AUDIO:
    case IR_VIDEO:
        return keeps_media(p, part);
    case IR_TOOL_RESULT:
    case IR_REFUSAL:
        return true;
    }
    return true;
}

static void copy_parts(struct prep *p, const struct ir_parts *from, struct ir_parts *to)
{
    *to = (struct ir_parts){0};
    for (const struct ir_part *part = from->first; part; part = part->next) {
        if (!keeps(p, part))
            continue;
        struct ir_part *copy = arena_alloc(p->c->arena, sizeof *copy);
        *copy = *part;
        if (part->kind == IR_TOOL_RESULT)
            copy_parts(p, &part->content, &copy->content);
        push_part(to, copy);
    }
}

static void copy_messages(struct prep *p, const struct ir_messages *from)
{
    p->out->messages = (struct ir_messages){0};
    for (const struct ir_message *m = from->first; m; m = m->next) {
        struct ir_message *copy = arena_alloc(p->c->arena, sizeof *copy);
        *copy = *m;
        copy_parts(p, &m->parts, &copy->parts);
        push_message(&p->out->messages, copy);
    }
}

static void add_system(struct prep *p, const struct ir_system *s)
{
    if (s->text.n == 0)
        return;
    struct ir_system *copy = arena_alloc(p->c->arena, sizeof *copy);
    struct ir_system **tail = p->system_end ? p->system_end : &p->out->system;
    *copy = *s;
    copy->next = NULL;
    while (*tail)
        tail = &(*tail)->next;
    *tail = copy;
    p->system_end = &copy->next;
}

static void hoist(struct prep *p, const struct ir_message *m)
{
    struct str text = ir_parts_text(p->c->arena, &m->parts);
    add_system(p, &(struct ir_system){.text = text, .is_developer = m->is_developer});
}

static bool is_folded(const struct prep *p, const struct ir_message *before)
{
    enum wire_system_mode mode = p->needs->mid_system;
    return mode == WIRE_SYSTEM_FOLD ||
           (mode == WIRE_SYSTEM_BEHIND_USER && (!before || before->role == IR_ASSISTANT));
}

static void place_systems(struct prep *p)
{
    struct ir_messages old = p->out->messages;
    p->out->messages = (struct ir_messages){0};
    for (struct ir_message *m = old.first, *next; m; m = next) {
        next = m->next;
        if (m->role == IR_SYSTEM && p->needs->mid_system == WIRE_SYSTEM_HOIST) {
            hoist(p, m);
            continue;
        }
        if (m->role == IR_SYSTEM && is_folded(p, p->out->messages.last))
            m->role = IR_USER; /* merging joins it to the next user turn */
        push_message(&p->out->messages, m);
    }
}

/* ---- pairing ---- */
struct pair {
    struct ir_part *call, *result;
    struct ir_message *message;
    struct pair *same;  /* an earlier call of the same id */
    struct pair *first; /* of this id in this turn, and there: the first that may lack a result */
    struct pair *open, *later;
};
struct pairs {
    struct pair *v;
    unsigned n;
};

/* Among calls of one id in one turn the earliest unanswered takes the result; else the newest, so that a repeated result
 * replaces the one before. */
static void answer(struct prep *p, struct pair *newest, struct ir_part *result)
{
    struct pair *first = newest->first;
    while (first->open && first->open->result)
        first->open = first->open->later;
    struct pair *pair = first->open ? first->open : newest;
    if (pair->result)
        wire_drop(p->c, "repeated, the last one counts", "tool_result");
    pair->result = result;
}

static struct pairs find_pairs(struct prep *p)
{
    struct pairs pairs = {0};
    struct map latest;
    for (struct ir_message *m = p->out->messages.first; m; m = m->next)
        for (struct ir_part *part = m->parts.first; part; part = part->next)
            pairs.n += part->kind == IR_TOOL_CALL;
    pairs.v = ARENA_ARRAY(p->c->arena, struct pair, pairs.n + 1);
    struct pair *at = pairs.v;
    map_init(&latest);
    for (struct ir_message *m = p->out->messages.first; m; m = m->next)
        for (struct ir_part *part = m->parts.first; part; part = part->next) {
            if (part->kind == IR_TOOL_CALL) {
                *at = (struct pair){.call = part, .message = m};
                at->same = map_get(&latest, part->call_id);
                if (at->same && at->same->message == m) {
                    at->first = at->same->first;
                    at->same->later = at;
                } else {
                    at->first = at->open = at;
                }
                map_set(&latest, part->call_id, at++);
            } else if (part->kind == IR_TOOL_RESULT) {
                struct pair *pair = part->call_id.n > 0 ? map_get(&latest, part->call_id) : NULL;
                if (pair)
                    answer(p, pair, part);
                else if (p->needs->pairs_tools)
                    wire_drop(p->c, "no call before it", "tool_result");
            }
        }
    map_done(&latest);
    return pairs;
}

/* Ids within the target's rule; a second call of the same id gets one of its own, since targets want them unique. */
static void rule_ids(struct prep *p, struct pairs *pairs)
{
    for (struct pair *x = pairs->v; x < pairs->v + pairs->n; x++) {
        struct str id = x->call->call_id;
        if (x->same) {
            struct str distinct = str_fmt(p->c->arena, STR_FMT "#%u", STR_ARG(id),
                                          (unsigned)(x - pairs->v));
            uint8_t sum[SHA256_SIZE];
            char hex[24];
            sha256(distinct, sum);
            hex_encode(hex, sum, sizeof hex / 2);
            id = str_fmt(p->c->arena, "%s%.24s",
                         p->needs->ids == WIRE_IDS_ANTHROPIC ? "toolu_" : "call_", hex);
        }
        x->call->call_id = wire_call_id(p->c, id, p->needs->ids);
        if (x->result) {
            x->result->call_id = x->call->call_id;
            x->result->name = x->call->name;
        }
    }
}

static struct ir_part *placeholder(struct prep *p, const struct pair *x)
{
    struct ir_parts one = {0};
    struct ir_part *result = ir_part_add(p->c->arena, &one, IR_TOOL_RESULT);
    result->call_id = x->call->call_id;
    result->name = x->call->name;
    result->call_kind = x->call->call_kind;
    ir_part_add(p->c->arena, &result->content, IR_TEXT)->text = STR("[No output available yet]");
    return result;
}

static void take_results(struct ir_message *m) /* they stand in the pairs from now on */
{
    struct ir_parts old = m->parts;
    m->parts = (struct ir_parts){0};
    for (struct ir_part *part = old.first, *next; part; part = next) {
        next = part->next;
        if (part->kind != IR_TOOL_RESULT)
            push_part(&m->parts, part);
    }
}

static void rebuild(struct prep *p, struct pairs *pairs)
{
    struct ir_messages old = p->out->messages;
    struct pair *x = pairs->v, *end = pairs->v + pairs->n;
    p->out->messages = (struct ir_messages){0};
    for (struct ir_message *m = old.first; m; m = m->next)
        take_results(m); /* of all, before any of them is chained anew */
    for (struct ir_message *m = old.first, *next; m; m = next) {
        next = m->next;
        if (m->parts.n > 0 && m->role != IR_TOOL)
            push_message(&p->out->messages, m);
        if (x == end || x->message != m)
            continue;
        struct ir_message *tool = ir_message_add(p->c->arena, &p->out->messages, IR_TOOL);
        for (; x < end && x->message == m; x++)
            push_part(&tool->parts, x->result ? x->result : placeholder(p, x));
    }
}

/* Ids follow the rule also when nothing is rearranged: results that found no call keep theirs, ruled. */
static void rule_results(struct prep *p)
{
    for (struct ir_message *m = p->out->messages.first; m; m = m->next)
        for (struct ir_part *part = m->parts.first; part; part = part->next)
            if (part->kind == IR_TOOL_RESULT && part->call_id.n > 0)
                part->call_id = wire_call_id(p->c, part->call_id, p->needs->ids);
}

static void drop_empty(struct prep *p)
{
    struct ir_messages old = p->out->messages;
    p->out->messages = (struct ir_messages){0};
    for (struct ir_message *m = old.first, *next; m; m = next) {
        next = m->next;
        if (m->parts.n > 0)
            push_message(&p->out->messages, m);
    }
}

static void merge(struct prep *p)
{
    struct ir_messages old = p->out->messages;
    p->out->messages = (struct ir_messages){0};
    for (struct ir_message *m = old.first, *next; m; m = next) {
        next = m->next;
        if (p->needs->results_in_user && m->role == IR_TOOL)
            m->role = IR_USER;
        struct ir_message *last = p->out->messages.last;
        if (!p->needs->merges_roles || !last || last->role != m->role || m->role == IR_SYSTEM) {
            push_message(&p->out->messages, m);
            continue;
        }
        for (struct ir_part *part = m->parts.first, *after; part; part = after) {
            after = part->next;
            push_part(&last->parts, part);
        }
    }
}

/* ---- tools ---- */
static bool is_name_char(char ch, enum wire_name_rule rule)
{
    if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
        ch == '_' || ch == '-')
        return true;
    return rule == WIRE_NAMES_GEMINI && (ch == '.' || ch == ':');
}

static struct str clean_name(struct arena *a, struct str name, enum wire_name_rule rule)
{
    size_t max = rule == WIRE_NAMES_ANTHROPIC ? 128 : 64;
    bool starts_ill = rule == WIRE_NAMES_GEMINI && name.n > 0 &&
                      !((name.p[0] | 32) >= 'a' && (name.p[0] | 32) <= 'z') && name.p[0] != '_';
    bool is_fine = name.n <= max && !starts_ill;
    for (size_t i = 0; i < name.n && is_fine; i++)
        is_fine = is_name_char(name.p[i], rule);
    if (rule == WIRE_NAMES_ANY || is_fine)
        return name;
    char *p = arena_alloc(a, name.n + 2);
    size_t n = 0;
    if (starts_ill)
        p[n++] = '_';
    for (size_t i = 0; i < name.n; i++)
        p[n++] = is_name_char(name.p[i], rule) ? name.p[i] : '_';
    return str_n(p, n < max ? n : max);
}

static struct str with_hash(struct arena *a, struct str name, struct str original, size_t max)
{
    uint8_t sum[SHA256_SIZE];
    char hex[4];
    sha256(original, sum);
    hex_encode(hex, sum, 2);
    return str_fmt(a, STR_FMT "_%.4s", STR_ARG(str_first(name, max - 5)), hex);
}

static struct str joined_name(struct arena *a, struct str space, struct str name)
{
    if (space.n == 0)
        return name;
    return str_fmt(a, STR_FMT "%s" STR_FMT, STR_ARG(space), str_ends(space, STR("__")) ? "" : "__",
                   STR_ARG(name));
}

/* A name that needs no change is its tool's, wherever in the list it stands: what the model calls by it is meant. */
static void reserve_names(struct prep *p, struct map *taken, struct ir_tool *tools)
{
    for (struct ir_tool *t = tools; t; t = t->next)
        if (t->kind != IR_TOOL_HOSTED && t->name.n > 0 &&
            str_eq(clean_name(p->c->arena, t->name, p->needs->names), t->name))
            map_set(taken, t->name, t);
}

static void rename_tool(struct prep *p, struct map *taken, struct ir_tool *t, struct str space)
{
    struct wire_ctx *c = p->c;
    struct str from = t->name;
    struct str whole = joined_name(c->arena, space, from);
    struct str clean = clean_name(c->arena, whole, p->needs->names);
    bool is_own = space.n == 0 && str_eq(clean, from);
    t->name = clean;
    for (unsigned i = 0; !is_own && map_get(taken, t->name); i++)
        t->name = with_hash(c->arena, clean,
                            i ? str_fmt(c->arena, "%u" STR_FMT, i, STR_ARG(whole)) : whole,
                            p->needs->names == WIRE_NAMES_ANTHROPIC ? 128 : 64);
    map_set(taken, t->name, t);
    if (str_eq(from, t->name) && space.n == 0)
        return;
    struct wire_rename *r = ARENA_NEW(c->arena, struct wire_rename);
    *r = (struct wire_rename){.next = c->renames, .from = from, .to = t->name, .space = space};
    c->renames = r;
}

static yyjson_val *input_schema(struct arena *a)
{
    yyjson_val *root = NULL;
    struct err e = ERR_INIT;
    bool ok = json_parse(a,
                         STR("{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}}"
                             ",\"required\":[\"input\"]}"),
                         0, &root, &e);
    return ok ? root : NULL;
}

static bool is_web_search(struct str type)
{
    return str_starts(type, STR("web_search")) || str_is(type, "googleSearch") ||
           str_is(type, "google_search") || str_is(type, "googleSearchRetrieval");
}

/* What limits a web search. Domains and the place are said alike by OpenAI and Anthropic; the rest, and all of it for Google, has no equal
 * and is named: a search without its limits costs more, or tells less of what was asked for. */
static void map_search(struct prep *p, struct ir_tool *t)
{
    enum wire_id to = p->needs->target;
    bool has_limits = to == WIRE_RESPONSES || to == WIRE_ANTHROPIC;
    yyjson_val *raw = t->raw, *filters = json_get(raw, "filters"), *k, *v;
    yyjson_val *domains = json_get(filters, "allowed_domains"),
               *place = json_get(raw, "user_location");
    struct err ignored = ERR_INIT;
    struct buf b;
    size_t i, n;
    if (!domains)
        domains = json_get(raw, "allowed_domains");
    if (yyjson_is_obj(raw))
        yyjson_obj_foreach (raw, i, n, k, v) {
            struct str name = json_str(k);
            bool is_said = str_is(name, "type") || str_is(name, "name") || v == filters ||
                           str_is(name, "external_web_access") ||
                           (has_limits && (v == domains || v == place));
            if (!is_said && !json_absent(v) && str_is(name, "cache_control"))
                wire_drop(p->c, "the format has no such field", "cache_control");
            else if (!is_said && !json_absent(v))
                wire_drop(p->c, "the format has no such field", "tools.web_search." STR_FMT,
                          STR_ARG(str_first(name, 40)));
        }
    if (yyjson_is_obj(filters))
        yyjson_obj_foreach (filters, i, n, k, v)
            if (!(has_limits && v == domains) && !json_absent(v))
                wire_drop(p->c, "the format has no such field", "tools.web_search." STR_FMT,
                          STR_ARG(str_first(json_str(k), 40)));
    t->hosted_type = str_of(p->needs->web_search);
    t->raw = NULL;
    t->origin = to;
    if (!has_limits || (json_absent(domains) && json_absent(place)))
        return;
    buf_init_arena(&b, p->c->arena, SIZE_MAX / 2);
    struct jw w = jw_on(&b);
    jw_object(&w);
    jw_kv_str(&w, "type", t->hosted_type);
    if (to == WIRE_ANTHROPIC)
        jw_kv_cstr(&w, "name", "web_search");
    if (!json_absent(domains) && to == WIRE_RESPONSES) {
        jw_key(&w, "filters");
        jw_object(&w);
    }
    if (!json_absent(domains))
        jw_kv_val(&w, "allowed_domains", domains);
    if (!json_absent(domains) && to == WIRE_RESPONSES)
        jw_object_end(&w);
    if (!json_absent(place))
        jw_kv_val(&w, "user_location", place);
    jw_object_end(&w);
    if (!json_parse(p->c->arena, buf_str(&b), 0, &t->raw, &ignored))
        t->raw = NULL;
}

/* Hosted tools: kept at home; web search is mapped where policy allows. What a client offers by the way (agents always
 * list their web search) is dropped and named; anything else is refused, since a model without it would fail silently. */
static bool map_hosted(struct prep *p, struct ir_tool *t, bool *is_kept, struct err *e)
{
    *is_kept = true;
    if (t->origin == p->needs->target)
        return true;
    if (is_web_search(t->hosted_type)) {
        bool is_offline = t->raw && !json_get_bool(t->raw, "external_web_access", true);
        if (p->needs->web_search && p->c->allow_hosted_tools && !is_offline) {
            map_search(p, t);
            return true;
        }
        *is_kept = false;
        wire_drop(p->c, "a hosted tool of another provider", "tools." STR_FMT,
                  STR_ARG(t->hosted_type));
        return true;
    }
    *is_kept = false;
    if (str_is(t->hosted_type, "tool_search")) {
        wire_drop(p->c, "a hosted tool of another provider", "tools." STR_FMT,
                  STR_ARG(t->hosted_type));
        return true;
    }
    err_set(e, ERR_UNSUPPORTED, "unsupported_feature",
            "the hosted tool '" STR_FMT "' does not exist upstream", STR_ARG(t->hosted_type));
    if (e)
        snprintf(e->field, sizeof e->field, "tools");
    return false;
}

/* Responses groups functions in namespaces; elsewhere each becomes a function named with its namespace. */
static struct ir_tool *flatten(struct prep *p, struct map *taken, const struct ir_tool *space,
                               struct ir_tool **tail, unsigned *n)
{
    yyjson_val *item;
    size_t i, max;
    struct ir_tool *last = NULL;
    yyjson_arr_foreach (json_get(space->raw, "tools"), i, max, item) {
        if (!str_is(json_get_str(item, "type"), "function") || json_get_str(item, "name").n == 0 ||
            ++*n > TOOLS_MAX)
            continue;
        struct ir_tool *t = ARENA_NEW(p->c->arena, struct ir_tool);
        t->kind = IR_TOOL_FUNCTION;
        t->name = json_get_str(item, "name");
        t->description = json_get_str(item, "description");
        t->parameters = json_get(item, "parameters");
        t->origin = space->origin;
        rename_tool(p, taken, t, json_get_str(space->raw, "name"));
        *tail = last = t;
        tail = &t->next;
    }
    return last;
}

static bool copy_tools(struct prep *p, struct ir_tool *from, struct err *e)
{
    struct map taken;
    struct ir_tool **tail = &p->out->tools;
    unsigned n = 0;
    bool ok = true;
    *tail = NULL;
    map_init(&taken);
    reserve_names(p, &taken, from);
    for (; from && ok; from = from->next) {
        if (++n > TOOLS_MAX) {
            ok = err_field(e, "tools", "more than %d tools", TOOLS_MAX);
            break;
        }
        if (from->kind == IR_TOOL_HOSTED && str_is(from->hosted_type, "namespace") &&
            from->origin != p->needs->target) {
            struct ir_tool *last = flatten(p, &taken, from, tail, &n);
            if (last)
                tail = &last->next;
            continue;
        }
        struct ir_tool *t = arena_alloc(p->c->arena, sizeof *t);
        bool is_kept = true;
        *t = *from;
        t->next = NULL;
        if (t->kind == IR_TOOL_HOSTED) {
            ok = map_hosted(p, t, &is_kept, e);
        } else if (t->name.n == 0) {
            is_kept = false;
            wire_drop(p->c, "a tool without a name", "tools[%u]", n - 1);
        } else {
            if (t->kind == IR_TOOL_CUSTOM && !p->needs->has_custom_tools) {
                t->kind = IR_TOOL_FUNCTION;
                t->parameters = input_schema(p->c->arena);
                t->raw = NULL;
            }
            rename_tool(p, &taken, t, STR_NONE);
        }
        if (ok && is_kept) {
            *tail = t;
            tail = &t->next;
        }
    }
    map_done(&taken);
    return ok;
}

static void rename_call(struct prep *p, struct ir_part *call)
{
    struct wire_ctx *c = p->c;
    for (const struct wire_rename *r = c->renames; r; r = r->next)
        if (str_eq(r->from, call->name) && str_eq(r->space, call->space)) {
            call->name = r->to;
            return;
        }
    call->name = clean_name(c->arena, joined_name(c->arena, call->space, call->name),
                            p->needs->names);
}

static void rename_calls(struct prep *p)
{
    for (struct ir_message *m = p->out->messages.first; m; m = m->next)
        for (struct ir_part *part = m->parts.first; part; part = part->next) {
            if (part->kind != IR_TOOL_CALL && part->kind != IR_TOOL_RESULT)
                continue;
            if (part->name.n > 0 && !(part->space.n > 0 && p->needs->target == WIRE_RESPONSES))
                rename_call(p, part);
            if (part->call_kind == IR_CALL_CUSTOM && !p->needs->has_custom_tools) {
                if (part->kind == IR_TOOL_CALL)
                    part->args_raw = wire_args_string(p->c->arena, part->args_raw, IR_CALL_CUSTOM);
                part->call_kind = IR_CALL_FUNCTION;
            }
        }
}

static bool settle_choice(struct prep *p, struct err *e)
{
    struct ir_request *r = p->out;
    if (!r->tools) {
        r->choice = IR_CHOICE_UNSET;
        r->has_disable_parallel = false;
        r->max_tool_calls = -1;
        return true;
    }
    if (r->choice == IR_CHOICE_TOOL && r->choice_tool.n == 0)
        r->choice = IR_CHOICE_ANY;
    if (r->choice == IR_CHOICE_TOOL) {
        struct str asked = r->choice_tool;
        r->choice_tool = wire_tool_name(p->c, asked);
        if (!ir_tool_find(r, r->choice_tool))
            return err_field(e, "tool_choice", "tool '" STR_FMT "' is not among the tools",
                             STR_ARG(asked));
    }
    if (r->choice == IR_CHOICE_ALLOWED) {
        struct str *v = ARENA_ARRAY(p->c->arena, struct str, r->choice_allowed.n + 1);
        for (unsigned i = 0; i < r->choice_allowed.n; i++)
            v[i] = wire_tool_name(p->c, r->choice_allowed.v[i]);
        r->choice_allowed.v = v;
    }
    return true;
}

/* Of what a Responses request wants beside its answer, others have the log probabilities only. */
static void drop_include(struct prep *p, const struct ir_request *r)
{
    yyjson_val *item;
    size_t i, n;
    if (p->needs->target == WIRE_RESPONSES)
        return;
    yyjson_arr_foreach (r->include, i, n, item)
        if (!str_is(json_str(item), "message.output_text.logprobs"))
            wire_drop(p->c, "the format has no such field", "include");
}

static bool has_reference(yyjson_val *input) /* to an item that some server kept */
{
    yyjson_val *item;
    size_t i, n;
    yyjson_arr_foreach (input, i, n, item)
        if (str_is(json_get_str(item, "type"), "item_reference"))
            return true;
    return false;
}

/* What only an upstream that speaks Responses can do, since it needs state that it keeps. */
static bool refuse_state(const struct prep *p, const struct ir_request *r, struct err *e)
{
    static const char *const fields[] = {"conversation", "prompt"};
    const char *field = NULL;
    if (p->needs->target == WIRE_RESPONSES || r->origin != WIRE_RESPONSES)
        return true;
    if (r->previous_response_id.n > 0 && !p->c->is_continuation)
        field = "previous_response_id";
    else if (r->is_background)
        field = "background";
    for (size_t i = 0; !field && i < ARRAY_LEN(fields); i++)
        if (!json_absent(json_get(r->raw, fields[i])))
            field = fields[i];
    if (!field && !p->c->is_continuation && has_reference(json_get(r->raw, "input")))
        field = "input";
    if (!field)
        return true;
    return err_unsupported(e, field, "'%s' is not supported by this model's upstream", field);
}

/* Whether any format gives the name a meaning that the IR holds. */
static bool is_known(struct str name)
{
    /* clang-format off */
    static const char *const by_length[] = { /* names of one length, each with a space behind it */
        [1] = "n ",
        [3] = "raw ",
        [4] = "seed stop text user ",
        [5] = "model input tools top_p top_k min_p audio store think ",
        [6] = "stream prompt system format images suffix ",
        [7] = "include options context ",
        [8] = "messages logprobs thinking metadata contents template ",
        [9] = "functions reasoning verbosity ",
        [10] = "max_tokens logit_bias truncation modalities background toolConfig keep_alive ",
        [11] = "tool_choice temperature tool_config ",
        [12] = "instructions top_logprobs service_tier conversation ",
        [13] = "function_call output_config output_format cachedContent ",
        [14] = "max_tool_calls stream_options stop_sequences safetySettings cached_content ",
        [15] = "response_format enable_thinking client_metadata safety_settings ",
        [16] = "presence_penalty reasoning_effort prompt_cache_key generationConfig ",
        [17] = "max_output_tokens frequency_penalty safety_identifier systemInstruction generation_config ",
        [18] = "system_instruction ",
        [19] = "parallel_tool_calls ",
        [20] = "previous_response_id ",
        [21] = "max_completion_tokens ",
        [22] = "prompt_cache_retention ",
    };
    /* clang-format on */
    if (name.n >= ARRAY_LEN(by_length) || !by_length[name.n])
        return false;
    for (const char *at = by_length[name.n]; *at; at += name.n + 1)
        if (*at == name.p[0] && memcmp(at, name.p, name.n) == 0)
            return true;
    return false;
}

/* Members of the request that neither the IR nor the target knows. */
static void name_residue(struct prep *p, const struct ir_request *r)
{
    yyjson_val *key, *value;
    size_t i, n;
    if (r->origin == p->needs->target || !yyjson_is_obj(r->raw))
        return;
    yyjson_obj_foreach (r->raw, i, n, key, value) {
        struct str name = json_str(key);
        if (!json_absent(value) && name.n > 0 && name.n <= 62 && !is_known(name))
            wire_drop(p->c, "unknown to the target", STR_FMT, STR_ARG(name));
    }
}

struct ir_request *wire_prepare(struct wire_ctx *c, const struct ir_request *req,
                                const struct wire_needs *needs, struct err *e)
{
    struct ir_request *out = arena_alloc(c->arena, sizeof *out);
    struct prep p = {.c = c, .needs = needs, .out = out};
    *out = *req;
    /* Anthropic's way to warm a cache: elsewhere one token is the least */
    if (out->max_tokens == 0)
        out->max_tokens = 1;
    c->renames = NULL;
    c->is_json_tool = false;
    out->system = NULL;
    if (!refuse_state(&p, req, e))
        return NULL;
    name_residue(&p, req);
    for (const struct ir_system *s = req->system; s; s = s->next)
        add_system(&p, s);
    if (!copy_tools(&p, req->tools, e) || !settle_choice(&p, e))
        return NULL;
    drop_include(&p, req);
    copy_messages(&p, &req->messages);
    ir_link_calls(c, &out->messages);
    rename_calls(&p);
    place_systems(&p);
    struct pairs pairs = find_pairs(&p);
    if (!needs->pairs_tools)
        rule_results(&p);
    rule_ids(&p, &pairs);
    if (needs->pairs_tools)
        rebuild(&p, &pairs);
    drop_empty(&p);
    if (p.has_lost_media && out->messages.n == 0) {
        err_unsupported(e, "messages",
                        "messages: this model's upstream understands none of their content");
        return NULL;
    }
    merge(&p);
    return out;
}
