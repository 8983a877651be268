#include "api/coding.h"

bool coding_is_taken(struct str accept_encoding, const char *coding)
{
    struct str one, name;
    while (accept_encoding.n) {
        accept_encoding = str_cut(accept_encoding, ',', &one);
        struct str weight = str_cut(one, ';', &name);
        if (str_eq_nocase(str_trim(name), str_of(coding)))
            return !str_contains(weight, STR("q=0")) || str_contains(weight, STR("q=0."));
    }
    return false;
}
