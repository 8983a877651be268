/* Cutting answers at stop sequences, however the text is cut into pieces. */
#include "wire/stop.h"
#include "unit.h"
#include "wire/common.h"

static struct arena *a;
static struct wire_ctx c;
static char seen[512];

static void begin(void)
{
    a = arena_new();
    wire_ctx_init(&c, a);
    c.scratch = a;
    seen[0] = 0;
}

static void on_event(void *arg, const struct ir_event *ev)
{
    static const char marks[] = "SBTRACLM]UFEXP";
    size_t n = strlen(seen);
    (void)arg;
    if (ev->kind == IR_EV_TEXT)
        (void)snprintf(seen + n, sizeof seen - n, STR_FMT, STR_ARG(ev->text));
    else if (ev->kind == IR_EV_FINISH)
        (void)snprintf(seen + n, sizeof seen - n, "<F" STR_FMT ">", STR_ARG(ev->stop_sequence));
    else
        (void)snprintf(seen + n, sizeof seen - n, "<%c>", marks[ev->kind]);
    if (ev->kind == IR_EV_USAGE) {
        ck_assert_int_eq(ev->usage.input_total, 7);
        ck_assert_int_ge(ev->usage.output_total, 1);
    }
}

/* The text in pieces of a size, as a stream of one block. */
static const char *stream(const struct ir_strs *stop, struct str text, size_t piece)
{
    struct stop_cut *k = stop_cut_new(&c, stop, 7);
    ck_assert_ptr_nonnull(k);
    seen[0] = 0;
    stop_cut_push(k, &(struct ir_event){.kind = IR_EV_START}, on_event, NULL);
    stop_cut_push(k, &(struct ir_event){.kind = IR_EV_BLOCK_START}, on_event, NULL);
    for (size_t i = 0; i < text.n; i += piece) {
        char copy[64]; /* its text lives no longer than the event */
        struct str part = str_first(str_skip(text, i), piece);
        memcpy(copy, part.p, part.n);
        stop_cut_push(k, &(struct ir_event){.kind = IR_EV_TEXT, .text = str_n(copy, part.n)},
                      on_event, NULL);
        memset(copy, '?', sizeof copy);
    }
    stop_cut_push(k, &(struct ir_event){.kind = IR_EV_BLOCK_END}, on_event, NULL);
    stop_cut_push(k, &(struct ir_event){.kind = IR_EV_FINISH}, on_event, NULL);
    stop_cut_push(k, &(struct ir_event){.kind = IR_EV_END}, on_event, NULL);
    ck_assert_int_eq(stop_cut_is_done(k), strstr(seen, "<F>") == NULL);
    return seen;
}

static const struct {
    const char *text, *stop[3], *expected;
} rows[] = {
    /* clang-format off */
    {"one END two",    {"END"},              "<S><B>one <]><FEND><U><X>"},
    {"one EN",         {"END"},              "<S><B>one EN<]><F><X>"},
    {"one ENEND",      {"END"},              "<S><B>one EN<]><FEND><U><X>"},
    {"aab aaab aaaab", {"aaaab"},            "<S><B>aab aaab <]><Faaaab><U><X>"},
    {"xxabcabd",       {"abcabd", "abcabe"}, "<S><B>xx<]><Fabcabd><U><X>"},
    {"one two three",  {"three", "two"},     "<S><B>one <]><Ftwo><U><X>"},
    {"abcd",           {"bcd", "", "abc"},   "<S><B><]><Fabc><U><X>"},
    {"END",            {"END"},              "<S><B><]><FEND><U><X>"},
    {"\xc3\xa8\xc3\xa9.", {"\xc3\xa9"},      "<S><B>\xc3\xa8<]><F\xc3\xa9><U><X>"},
    {"nothing of it",  {"\n\n"},             "<S><B>nothing of it<]><F><X>"},
    /* clang-format on */
};

START_TEST(a_stream_is_cut_at_the_first_sequence)
{
    begin();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str v[3];
        struct ir_strs stop = {v, 0};
        for (size_t k = 0; k < 3 && rows[i].stop[k]; k++)
            v[stop.n++] = str_of(rows[i].stop[k]);
        for (size_t piece = 1; piece < 20; piece++)
            ck_assert_str_eq(stream(&stop, str_of(rows[i].text), piece), rows[i].expected);
    }
    arena_free(a);
}
END_TEST

START_TEST(an_answer_is_cut_with_what_follows)
{
    begin();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str v[3];
        struct ir_strs stop = {v, 0};
        struct ir_choice choice = {.stop = IR_STOP_TOOL};
        struct ir_response res = {.choices = &choice};
        char line[512];
        for (size_t k = 0; k < 3 && rows[i].stop[k]; k++)
            v[stop.n++] = str_of(rows[i].stop[k]);
        ir_part_add(a, &choice.message.parts, IR_REASONING)->text = v[0];
        struct ir_part *text = ir_part_add(a, &choice.message.parts, IR_TEXT);
        text->text = str_of(rows[i].text);
        (void)ir_part_add(a, &choice.message.parts, IR_TOOL_CALL);
        stop_cut_response(&stop, &res);
        (void)snprintf(line, sizeof line, "<S><B>" STR_FMT "<]><F" STR_FMT ">%s<X>",
                       STR_ARG(text->text), STR_ARG(choice.stop_sequence),
                       choice.stop_sequence.n > 0 ? "<U>" : "");
        ck_assert_str_eq(line, rows[i].expected);
        bool is_cut = choice.stop_sequence.n > 0;
        ck_assert_int_eq(choice.stop, is_cut ? IR_STOP_END : IR_STOP_TOOL);
        ck_assert(is_cut == (text->next == NULL));
    }
    arena_free(a);
}
END_TEST

START_TEST(only_the_answers_text_is_looked_at)
{
    struct str end = STR("END");
    struct ir_strs stop = {&end, 1};
    begin();
    struct stop_cut *k = stop_cut_new(&c, &stop, 7);
    const struct ir_event events[] = {
        {.kind = IR_EV_BLOCK_START, .part_kind = IR_REASONING},
        {.kind = IR_EV_REASONING, .part_kind = IR_REASONING, .text = end},
        {.kind = IR_EV_BLOCK_START, .part_kind = IR_REFUSAL},
        {.kind = IR_EV_TEXT, .part_kind = IR_REFUSAL, .text = end},
        {.kind = IR_EV_TOOL_ARGS, .part_kind = IR_TOOL_CALL, .text = end},
        {.kind = IR_EV_TEXT, .text = STR("EN")}, /* held, but an error lets nothing wait */
        {.kind = IR_EV_ERROR},
        {.kind = IR_EV_END},
    };
    for (size_t i = 0; i < ARRAY_LEN(events); i++)
        stop_cut_push(k, &events[i], on_event, NULL);
    ck_assert_str_eq(seen, "<B><R><B>END<A><E><X>");
    ck_assert(!stop_cut_is_done(k) && !stop_cut_is_done(NULL));
    struct str empty = STR("");
    ck_assert_ptr_null(stop_cut_new(&c, &(struct ir_strs){&empty, 1}, 7));
    arena_free(a);
}
END_TEST

UNIT_MAIN("stop", a_stream_is_cut_at_the_first_sequence, an_answer_is_cut_with_what_follows,
          only_the_answers_text_is_looked_at)
