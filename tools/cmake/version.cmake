# Writes OUT, a C file with the version: the tag and commit from git, else the VERSION file.
# The file is touched only when its content changes, so an unchanged version compiles nothing.
file(STRINGS "${SRC}/VERSION" version LIMIT_COUNT 1)
find_program(GIT git)
if(GIT AND EXISTS "${SRC}/.git")
  execute_process(COMMAND "${GIT}" describe --tags --match "v[0-9]*" --dirty
    WORKING_DIRECTORY "${SRC}" OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE failed ERROR_QUIET)
  if(NOT failed)
    string(REGEX REPLACE "^v" "" version "${described}")
  else()
    execute_process(COMMAND "${GIT}" rev-parse --short HEAD
      WORKING_DIRECTORY "${SRC}" OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE
      RESULT_VARIABLE failed ERROR_QUIET)
    if(NOT failed)
      string(APPEND version "+g${commit}")
    endif()
  endif()
endif()
set(text "/* Generated from VERSION and git. */\n#include \"version.h\"\n\nconst char sluice_version[] = \"${version}\";\n")
set(old "")
if(EXISTS "${OUT}")
  file(READ "${OUT}" old)
endif()
if(NOT old STREQUAL text)
  file(WRITE "${OUT}" "${text}")
endif()
