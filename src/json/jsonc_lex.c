#include "json/jsonc_lex.h"
#include "base/banned.h"

size_t jsonc_skip_blank(struct str t, size_t i)
{
    for (;;) {
        while (i < t.n && (t.p[i] == ' ' || t.p[i] == '\t' || t.p[i] == '\n' || t.p[i] == '\r'))
            i++;
        if (i + 1 >= t.n || t.p[i] != '/')
            return i;
        if (t.p[i + 1] == '/') {
            while (i < t.n && t.p[i] != '\n' && t.p[i] != '\r') /* as the parser does */
                i++;
        } else if (t.p[i + 1] == '*') {
            i += 2;
            while (i + 1 < t.n && !(t.p[i] == '*' && t.p[i + 1] == '/'))
                i++;
            i = i + 2 < t.n ? i + 2 : t.n;
        } else {
            return i;
        }
    }
}

size_t jsonc_skip_string(struct str t, size_t i)
{
    for (i++; i < t.n && t.p[i] != '"'; i++)
        if (t.p[i] == '\\')
            i++;
    return i < t.n ? i + 1 : t.n;
}

static bool is_delimiter(char c)
{
    return c != '\0' && strchr(",:]}[{\"/ \t\r\n", c) != NULL;
}

size_t jsonc_skip_value(struct str t, size_t i)
{
    size_t depth = 0;
    do {
        i = jsonc_skip_blank(t, i);
        if (i >= t.n)
            return t.n;
        char c = t.p[i];
        if (c == '"') {
            i = jsonc_skip_string(t, i);
        } else if (c == '{' || c == '[') {
            depth++;
            i++;
        } else if (c == '}' || c == ']') {
            depth -= depth > 0;
            i++;
        } else {
            if (c == '$') /* ${VAR} in place of a value */
                i += str_index(str_skip(t, i), '}');
            do
                i++;
            while (i < t.n && !is_delimiter(t.p[i]));
        }
    } while (depth > 0);
    return i < t.n ? i : t.n;
}
