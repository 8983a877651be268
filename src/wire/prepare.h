/* prepare.h - turns a decoded request into one that a target can carry: pairing, ids, names, order, residue. */
#ifndef WIRE_PREPARE_H
#define WIRE_PREPARE_H
#include "wire/wire.h"

enum wire_system_mode {
    WIRE_SYSTEM_KEEP,  /* later system messages stay where they are, role IR_SYSTEM */
    WIRE_SYSTEM_BEHIND_USER, /* those directly behind a user turn stay, the others are folded */
    WIRE_SYSTEM_FOLD,  /* they become text of the next user turn */
    WIRE_SYSTEM_HOIST, /* they join the leading system text */
};
enum wire_id_rule { WIRE_IDS_ANY, WIRE_IDS_OPENAI, WIRE_IDS_ANTHROPIC, WIRE_IDS_9 };
enum wire_name_rule { WIRE_NAMES_ANY, WIRE_NAMES_OPENAI, WIRE_NAMES_ANTHROPIC, WIRE_NAMES_GEMINI };
struct wire_needs { /* what a target asks of a conversation */
    enum wire_id target;
    enum wire_system_mode mid_system;
    enum wire_id_rule ids;
    enum wire_name_rule names;
    bool pairs_tools;             /* each call is answered right behind its turn; orphans are repaired */
    bool merges_roles;            /* neighbours of one role become one message */
    bool results_in_user;         /* tool results are part of user turns, in front of other content */
    bool drops_empty_text;        /* empty text parts, and messages that become empty, are refused by the target */
    bool keeps_foreign_reasoning; /* readable reasoning of other formats stays in the history */
    bool has_custom_tools;        /* false: custom tools become functions of one string "input" */
    /* Whether the target can say a medium (an image, file, sound or video) of a turn or a result; what it cannot is noted as
     * dropped. Remote ones that it wants fetched count as said. NULL: all. */
    bool (*says_media)(struct wire_ctx *c, const struct ir_part *p);
    const char *web_search;       /* hosted_type of its web search; NULL: it has no hosted tools */
};
/* A copy of the request, ready to be written: calls and results linked and paired (one IR_TOOL message behind each
 * assistant turn with calls, results in call order), ids and names within the target's rules (renames go to ctx),
 * foreign opaque parts and reasoning dropped, choice and parallel flag stripped when no tool is left, hosted tools mapped,
 * dropped or refused; media that the target cannot say are gone, and messages that they leave empty. Resets ctx->renames and is_json_tool. The copy's lists are its own, to be changed at will.
 * NULL: *e says what the target cannot carry. */
struct ir_request *wire_prepare(struct wire_ctx *c, const struct ir_request *req, const struct wire_needs *needs, struct err *e);

/* Gives calls without an id one, results without an id the id of their call (by name in order of appearance, then by
 * the prefix "<name>_", then by order), and results without a name the name of their call. In place. */
void ir_link_calls(struct wire_ctx *c, struct ir_messages *m);
#endif
