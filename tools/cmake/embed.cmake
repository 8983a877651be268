# Writes OUT/embedded.c and OUT/embedded.h: for every set "symbol=pattern" in SETS (separated by |)
# an array of the files that match, in name order, ended by a row whose name is NULL.
string(REPLACE "|" ";" sets "${SETS}")
set(header "/* embedded.h - files that the binary carries, by set, in name order. Generated.
 * `data` is followed by a NUL that `size` does not count. A set ends with a NULL name. */
#ifndef GENERATED_EMBEDDED_H
#define GENERATED_EMBEDDED_H
#include <stddef.h>

struct embedded {
    const char *name; /* without its folder */
    const unsigned char *data;
    size_t size;
};
")
set(source "/* Generated. */\n#include \"embedded.h\"\n")
set(count 0)
foreach(set IN LISTS sets)
  string(REGEX MATCH "^[^=]+" symbol "${set}")
  string(REGEX REPLACE "^[^=]+=" "" pattern "${set}")
  file(GLOB files "${SRC}/${pattern}")
  list(SORT files)
  set(rows "")
  foreach(file IN LISTS files)
    get_filename_component(name "${file}" NAME)
    file(READ "${file}" hex HEX)
    string(LENGTH "${hex}" digits)
    math(EXPR size "${digits} / 2")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(APPEND source "static const unsigned char file_${count}[] = {${bytes}0};\n")
    string(APPEND rows "    {\"${name}\", file_${count}, ${size}},\n")
    math(EXPR count "${count} + 1")
  endforeach()
  string(APPEND source "const struct embedded ${symbol}[] = {\n${rows}    {0},\n};\n")
  string(APPEND header "extern const struct embedded ${symbol}[];\n")
endforeach()
file(WRITE "${OUT}/embedded.h" "${header}#endif\n")
file(WRITE "${OUT}/embedded.c" "${source}")
