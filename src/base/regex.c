#include "base/regex.h"

#define MAX_CODE 1000 /* instructions */
#define MAX_PATTERN 1000
#define MAX_NESTED 50
#define MAX_REPEAT 200
#define MAX_ATOMS 20000

/* A program for threads that run side by side, one text byte at a time (Thompson; Pike). Jumps are relative, so that what is in front of
 * an atom is put there afterwards. */
enum op {
    OP_BYTES,
    OP_SPLIT,
    OP_JUMP,
    OP_BEGIN,
    OP_END,
    OP_WORD_EDGE,
    OP_NO_WORD_EDGE,
    OP_MATCH
};
struct code {
    enum op op;
    int to;            /* of a jump, from here; a split goes there and to the next one */
    uint32_t bytes[8]; /* the set */
};
struct regex {
    size_t n;
    struct code code[];
};

struct parser {
    struct str p;
    size_t at;
    unsigned depth, atoms; /* read so far, again and again */
    struct code *code;
    size_t n;
    struct err *e;
};

static bool fails(struct parser *p, const char *why)
{
    if (p->e && p->e->kind == ERR_NONE)
        err_set(p->e, ERR_INPUT, "invalid_value",
                "not a regular expression that is understood: %s at %zu", why, p->at);
    return false;
}

static struct code *emit(struct parser *p, enum op op)
{
    if (p->n == MAX_CODE) {
        (void)fails(p, "it is too long");
        return NULL;
    }
    struct code *c = &p->code[p->n++];
    *c = (struct code){.op = op};
    return c;
}

/* In front of what begins at `at`. */
static bool insert(struct parser *p, size_t at, enum op op, int to)
{
    if (!emit(p, op))
        return false;
    for (size_t i = p->n - 1; i > at; i--)
        p->code[i] = p->code[i - 1];
    p->code[at] = (struct code){.op = op, .to = to};
    return true;
}

static void add(struct code *c, unsigned char byte)
{
    c->bytes[byte / 32] |= UINT32_C(1) << byte % 32;
}

static bool has(const struct code *c, unsigned char byte)
{
    return c->bytes[byte / 32] >> byte % 32 & 1;
}

static void turn(struct code *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->bytes); i++)
        c->bytes[i] = ~c->bytes[i];
}

static bool is_word(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* What \d and its like stand for. false: it is no such letter. */
static bool add_class(struct code *c, char letter)
{
    struct code some = {.op = OP_BYTES};
    for (unsigned b = 0; b < 256; b++) {
        bool is_in = letter == 'd' || letter == 'D'   ? b >= '0' && b <= '9'
                     : letter == 'w' || letter == 'W' ? is_word((unsigned char)b)
                                                      : b == ' ' || (b >= '\t' && b <= '\r');
        if (is_in)
            add(&some, (unsigned char)b);
    }
    switch (letter) {
    case 'D':
    case 'W':
    case 'S':
        turn(&some);
        break;
    case 'd':
    case 'w':
    case 's':
        break;
    default:
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(c->bytes); i++)
        c->bytes[i] |= some.bytes[i];
    return true;
}

/* The byte that an escape stands for; -1: none. */
static int escaped(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return is_word((unsigned char)c) ? -1 : (unsigned char)c;
    }
}

/* Behind '['. */
static bool parse_set(struct parser *p)
{
    struct code *c = emit(p, OP_BYTES);
    bool is_turned = p->at < p->p.n && p->p.p[p->at] == '^';
    if (!c)
        return false;
    p->at += is_turned;
    for (bool is_first = true;; is_first = false) {
        if (p->at >= p->p.n)
            return fails(p, "a set has no end");
        int from = (unsigned char)p->p.p[p->at++];
        if (from == ']' && !is_first)
            break;
        if (from == '\\') {
            if (p->at >= p->p.n)
                return fails(p, "nothing is escaped");
            char letter = p->p.p[p->at++];
            if (add_class(c, letter))
                continue;
            from = letter == 'b' ? '\b' : escaped(letter);
            if (from < 0)
                return fails(p, "an unknown escape");
        }
        int to = from;
        if (p->at + 1 < p->p.n && p->p.p[p->at] == '-' && p->p.p[p->at + 1] != ']') {
            p->at++;
            to = (unsigned char)p->p.p[p->at++];
            if (to == '\\' && p->at < p->p.n)
                to = escaped(p->p.p[p->at++]);
            if (to < from)
                return fails(p, "a range that goes down");
        }
        for (int b = from; b <= to; b++)
            add(c, (unsigned char)b);
    }
    if (is_turned)
        turn(c);
    return true;
}

static bool parse_choice(struct parser *p);

static bool parse_group(struct parser *p)
{
    if (p->at + 1 < p->p.n && p->p.p[p->at] == '?') {
        if (p->p.p[p->at + 1] != ':')
            return fails(p, "looking around and names of groups are not known");
        p->at += 2;
    }
    if (++p->depth > MAX_NESTED)
        return fails(p, "it is nested too deep");
    if (!parse_choice(p))
        return false;
    p->depth--;
    if (p->at >= p->p.n || p->p.p[p->at] != ')')
        return fails(p, "a group has no end");
    p->at++;
    return true;
}

static bool parse_escape(struct parser *p)
{
    if (p->at >= p->p.n)
        return fails(p, "nothing is escaped");
    char letter = p->p.p[p->at++];
    if (letter == 'b' || letter == 'B')
        return emit(p, letter == 'b' ? OP_WORD_EDGE : OP_NO_WORD_EDGE) != NULL;
    struct code *c = emit(p, OP_BYTES);
    if (!c)
        return false;
    if (add_class(c, letter))
        return true;
    int byte = escaped(letter);
    if (byte < 0)
        return fails(p, "an unknown escape");
    add(c, (unsigned char)byte);
    return true;
}

static bool parse_atom(struct parser *p)
{
    char c = p->p.p[p->at++];
    struct code *one;
    if (++p->atoms > MAX_ATOMS)
        return fails(p, "too many repetitions");
    switch (c) {
    case '(':
        return parse_group(p);
    case '[':
        return parse_set(p);
    case '\\':
        return parse_escape(p);
    case '^':
        return emit(p, OP_BEGIN) != NULL;
    case '$':
        return emit(p, OP_END) != NULL;
    case '*':
    case '+':
    case '?':
    case '{':
        return fails(p, "nothing is repeated");
    default:
        one = emit(p, OP_BYTES);
        if (!one)
            return false;
        if (c != '.') {
            add(one, (unsigned char)c);
            return true;
        }
        add(one, '\n');
        turn(one);
        return true;
    }
}

/* "{2,5}" behind its brace. most -1: without end. */
static bool parse_counts(struct parser *p, int *least, int *most)
{
    int v[2] = {0, -1};
    size_t which = 0, digits = 0;
    for (; p->at < p->p.n; p->at++) {
        char c = p->p.p[p->at];
        if (c >= '0' && c <= '9') {
            v[which] = (v[which] < 0 ? 0 : v[which]) * 10 + (c - '0');
            digits++;
            if (v[which] > MAX_REPEAT)
                return fails(p, "too many repetitions");
        } else if (c == ',' && which == 0 && digits) {
            which = 1;
        } else if (c == '}' && digits) {
            p->at++;
            *least = v[0];
            *most = which ? v[1] : v[0];
            return *most < 0 || *most >= *least || fails(p, "a range that goes down");
        } else {
            break;
        }
    }
    return fails(p, "a number of repetitions");
}

/* The atom that begins at `from` in the pattern, so often, from `at` in the program on. It is read again for each. */
static bool repeat(struct parser *p, size_t from, size_t at, int least, int most)
{
    size_t behind = p->at, begin = at;
    int copies = most > least ? most : most < 0 && least == 0 ? 1 : least;
    p->n = at;
    for (int i = 0; i < copies; i++) {
        begin = p->n;
        p->at = from;
        if (!parse_atom(p))
            return false;
        if (i >= least && !insert(p, begin, OP_SPLIT, (int)(p->n - begin) + (most < 0 ? 2 : 1)))
            return false;
    }
    p->at = behind;
    if (most >= 0)
        return true;
    struct code *back = emit(p, least ? OP_SPLIT : OP_JUMP); /* to the last of them */
    if (!back)
        return false;
    back->to = (int)begin - (int)(p->n - 1);
    return true;
}

static bool parse_piece(struct parser *p)
{
    size_t from = p->at, at = p->n;
    int least, most;
    if (!parse_atom(p))
        return false;
    if (p->at >= p->p.n)
        return true;
    switch (p->p.p[p->at]) {
    case '*':
        least = 0;
        most = -1;
        break;
    case '+':
        least = 1;
        most = -1;
        break;
    case '?':
        least = 0;
        most = 1;
        break;
    case '{':
        p->at++;
        if (!parse_counts(p, &least, &most))
            return false;
        p->at--;
        break;
    default:
        return true;
    }
    p->at++;
    /* as few as possible: whether it is found is the same */
    if (p->at < p->p.n && p->p.p[p->at] == '?')
        p->at++;
    return repeat(p, from, at, least, most);
}

static bool parse_choice(struct parser *p)
{
    size_t at = p->n;
    while (p->at < p->p.n && p->p.p[p->at] != ')') {
        if (p->p.p[p->at] != '|') {
            if (!parse_piece(p))
                return false;
            continue;
        }
        p->at++;
        struct code *over = emit(p, OP_JUMP);
        size_t jump = p->n - 1;
        if (!over || !insert(p, at, OP_SPLIT, (int)(p->n - at + 1)))
            return false;
        jump++;
        if (!parse_choice(p)) /* all that follow */
            return false;
        p->code[jump].to = (int)(p->n - jump);
        return true;
    }
    return true;
}

const struct regex *regex_new(struct arena *a, struct str pattern, struct err *e)
{
    struct parser p = {.p = pattern, .e = e};
    if (pattern.n > MAX_PATTERN) {
        (void)fails(&p, "it is too long");
        return NULL;
    }
    p.code = ARENA_ARRAY(a, struct code, MAX_CODE);
    if (!parse_choice(&p))
        return NULL;
    if (p.at < pattern.n) {
        (void)fails(&p, "a ')' too many");
        return NULL;
    }
    if (!emit(&p, OP_MATCH))
        return NULL;
    struct regex *r = arena_alloc(a, sizeof *r + p.n * sizeof *r->code);
    r->n = p.n;
    memcpy(r->code, p.code, p.n * sizeof *r->code);
    return r;
}

/* ---- running ---- */

struct threads {
    uint16_t v[MAX_CODE];
    size_t n;
    bool is_in[MAX_CODE];
};

static bool is_edge(struct str s, size_t at)
{
    bool before = at > 0 && is_word((unsigned char)s.p[at - 1]);
    bool after = at < s.n && is_word((unsigned char)s.p[at]);
    return before != after;
}

/* A thread at pc, and all that it leads to before the next byte. */
static void start(const struct regex *r, struct threads *t, size_t pc, struct str s, size_t at)
{
    uint16_t todo[2 * MAX_CODE + 1];
    size_t n = 0;
    todo[n++] = (uint16_t)pc;
    while (n) {
        pc = todo[--n];
        if (t->is_in[pc])
            continue;
        t->is_in[pc] = true;
        const struct code *c = &r->code[pc];
        bool goes_on = false;
        switch (c->op) {
        case OP_BYTES:
        case OP_MATCH:
            t->v[t->n++] = (uint16_t)pc;
            break;
        case OP_SPLIT:
            todo[n++] = (uint16_t)(pc + 1);
            todo[n++] = (uint16_t)((int)pc + c->to);
            break;
        case OP_JUMP:
            todo[n++] = (uint16_t)((int)pc + c->to);
            break;
        case OP_BEGIN:
            goes_on = at == 0;
            break;
        case OP_END:
            goes_on = at == s.n;
            break;
        case OP_WORD_EDGE:
            goes_on = is_edge(s, at);
            break;
        case OP_NO_WORD_EDGE:
            goes_on = !is_edge(s, at);
            break;
        }
        if (goes_on)
            todo[n++] = (uint16_t)(pc + 1);
    }
}

bool regex_finds(const struct regex *r, struct str s)
{
    struct threads lists[2], *now = &lists[0], *next = &lists[1];
    now->n = 0;
    memset(now->is_in, 0, sizeof now->is_in);
    for (size_t at = 0;; at++) {
        start(r, now, 0, s, at); /* it may begin here */
        next->n = 0;
        memset(next->is_in, 0, r->n * sizeof next->is_in[0]);
        for (size_t i = 0; i < now->n; i++) {
            const struct code *c = &r->code[now->v[i]];
            if (c->op == OP_MATCH)
                return true;
            if (at < s.n && has(c, (unsigned char)s.p[at]))
                start(r, next, now->v[i] + 1u, s, at + 1);
        }
        if (at == s.n)
            return false;
        struct threads *was = now;
        now = next;
        next = was;
    }
}
