#include "base/decimal.h"
#include <stdio.h>

#define MAX_DIGITS 64

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* [digits][.digits] as digits and the power of ten that they are to be multiplied with. */
static bool read_digits(struct str *text, char digits[MAX_DIGITS], int *n, int *power)
{
    bool is_any = false, is_behind_point = false;
    *n = *power = 0;
    for (; text->n; *text = str_skip(*text, 1)) {
        char c = text->p[0];
        if (c == '.' && !is_behind_point) {
            is_behind_point = true;
            continue;
        }
        if (!is_digit(c))
            break;
        is_any = true;
        if (c == '0' && *n == 0) { /* leading ones say nothing */
            *power -= is_behind_point;
            continue;
        }
        if (*n < MAX_DIGITS)
            digits[(*n)++] = c;
        else
            *power += 1; /* beyond what matters */
        *power -= is_behind_point;
    }
    return is_any;
}

static bool read_exponent(struct str text, int *exponent)
{
    bool is_negative = false;
    int64_t v;
    if (text.n == 0) {
        *exponent = 0;
        return true;
    }
    if (text.p[0] != 'e' && text.p[0] != 'E')
        return false;
    text = str_skip(text, 1);
    if (text.n && (text.p[0] == '+' || text.p[0] == '-')) {
        is_negative = text.p[0] == '-';
        text = str_skip(text, 1);
    }
    if (text.n == 0 || !is_digit(text.p[0]) || !str_to_int(text, &v) || v > 1000)
        return false;
    *exponent = (int)(is_negative ? -v : v);
    return true;
}

bool decimal_parse(struct str text, int shift, int64_t *out)
{
    char digits[MAX_DIGITS];
    int n, power, exponent;
    text = str_trim(text);
    if (!read_digits(&text, digits, &n, &power) || !read_exponent(text, &exponent))
        return false;
    int kept = n + power + exponent + shift; /* digits of the result */
    int64_t v = 0;
    if (n == 0) {
        *out = 0;
        return true;
    }
    if (kept > 18)
        return false;
    for (int i = 0; i < kept; i++)
        v = v * 10 + (i < n ? digits[i] - '0' : 0);
    if (kept >= 0 && kept < n && digits[kept] >= '5')
        v++;
    *out = v;
    return true;
}

void decimal_write_nano(struct buf *b, int64_t nanousd)
{
    int64_t whole = nanousd / 1000000000, rest = nanousd % 1000000000;
    if (nanousd < 0) {
        buf_char(b, '-');
        whole = -whole;
        rest = -rest;
    }
    buf_int(b, whole);
    if (rest == 0)
        return;
    char digits[16];
    int n = snprintf(digits, sizeof digits, ".%09lld", (long long)rest);
    while (n > 0 && digits[n - 1] == '0')
        n--;
    buf_add(b, digits, (size_t)n);
}
