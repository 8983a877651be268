/* secret.c - how a credential is shown. */
#include "base/secret.h"
#include "base/banned.h"

struct str secret_mask(struct arena *a, struct secret s)
{
    struct str t = s.hidden;
    if (t.n == 0)
        return STR_NONE;
    if (str_starts(t, STR("${")) && str_ends(t, STR("}")))
        return t; /* a reference to the environment, not the value itself */
    if (t.n <= 8)
        return STR("***");
    return str_fmt(a, "%.4s***%.4s", t.p, t.p + t.n - 4);
}
