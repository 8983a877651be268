/* cmd_completion.c - sluice completion SHELL, from the tables of commands and options; and sluice version. */
#include "app/cli.h"
#include "base/banned.h"
#include "version.h"

int cmd_version(struct cli *c)
{
    (void)c;
    (void)printf("sluice %s\n", sluice_version);
    return 0;
}

/* Verbs of a noun, or the names of all commands when noun is NULL; each once, separated by spaces. */
static struct str words_of(struct arena *a, const char *noun)
{
    struct str out = STR_NONE;
    const char *last = "";
    for (const struct command *c = commands; c->name; c++) {
        const char *word = noun ? c->verb : c->name;
        if ((noun && strcmp(c->name, noun) != 0) || !word || strcmp(word, last) == 0)
            continue;
        out = str_fmt(a, STR_FMT "%s%s", STR_ARG(out), out.n ? " " : "", word);
        last = word;
    }
    return out;
}

static struct str options_of(struct arena *a, const struct command *c)
{
    struct str out = STR_NONE;
    for (const struct option_def *o = option_defs; o->name; o++)
        if (option_is_of(o, c))
            out = str_fmt(a, STR_FMT "%s--%s", STR_ARG(out), out.n ? " " : "", o->name);
    return out;
}

static void bash(struct arena *a)
{
    (void)printf(
        "# bash completion of sluice: put it into "
        "~/.local/share/bash-completion/completions/sluice\n"
        "_sluice() {\n"
        "    local word=\"${COMP_WORDS[COMP_CWORD]}\" words= options=\n"
        "    case \"${COMP_WORDS[COMP_CWORD-1]}\" in\n"
        "    --config|--ca-file|--port-file) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
        "    --data) COMPREPLY=($(compgen -d -- \"$word\")); return ;;\n"
        "    esac\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
        "        words=\"" STR_FMT " help --version\"\n"
        "    else\n"
        "        case \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n",
        STR_ARG(words_of(a, NULL)));
    for (const struct command *c = commands; c->name; c++)
        (void)printf("        \"%s %s\"*) options=\"" STR_FMT "\" ;;\n", c->name,
                     c->verb ? c->verb : "", STR_ARG(options_of(a, c)));
    (void)printf("        esac\n"
                 "        if [ \"$COMP_CWORD\" -eq 2 ]; then\n"
                 "            case \"${COMP_WORDS[1]}\" in\n");
    const char *last = "";
    for (const struct command *c = commands; c->name; c++) {
        if (c->verb && strcmp(c->name, last) != 0)
            (void)printf("            %s) words=\"" STR_FMT "\" ;;\n", c->name,
                         STR_ARG(words_of(a, c->name)));
        last = c->name;
    }
    (void)printf("            completion) words=\"bash zsh fish\" ;;\n"
                 "            esac\n"
                 "        fi\n"
                 "    fi\n"
                 "    COMPREPLY=($(compgen -W \"$words $options\" -- \"$word\"))\n"
                 "}\n"
                 "complete -F _sluice sluice\n");
}

static void zsh(struct arena *a)
{
    (void)printf("#compdef sluice\n"
                 "# zsh completion of sluice: put it as _sluice into a folder of $fpath\n"
                 "_sluice() {\n"
                 "    local -a found\n"
                 "    if (( CURRENT == 2 )); then\n"
                 "        found=(" STR_FMT " help)\n"
                 "    else\n"
                 "        case \"$words[2] $words[3]\" in\n",
                 STR_ARG(words_of(a, NULL)));
    for (const struct command *c = commands; c->name; c++)
        (void)printf("        \"%s %s\"*) found+=(" STR_FMT ") ;;\n", c->name,
                     c->verb ? c->verb : "", STR_ARG(options_of(a, c)));
    (void)printf("        esac\n"
                 "        if (( CURRENT == 3 )); then\n"
                 "            case \"$words[2]\" in\n");
    const char *last = "";
    for (const struct command *c = commands; c->name; c++) {
        if (c->verb && strcmp(c->name, last) != 0)
            (void)printf("            %s) found+=(" STR_FMT ") ;;\n", c->name,
                         STR_ARG(words_of(a, c->name)));
        last = c->name;
    }
    (void)printf("            completion) found+=(bash zsh fish) ;;\n"
                 "            esac\n"
                 "        fi\n"
                 "    fi\n"
                 "    compadd -- $found\n"
                 "    _files\n"
                 "}\n"
                 "compdef _sluice sluice\n");
}

static void fish_text(const char *s)
{
    for (; *s; s++)
        (void)printf("%s%c", *s == '\'' || *s == '\\' ? "\\" : "", *s);
}

static void fish(struct arena *a)
{
    const char *last = "";
    (void)printf("# fish completion of sluice: put it into ~/.config/fish/completions/sluice.fish\n"
                 "complete -c sluice -f\n");
    for (const struct command *c = commands; c->name; c++) {
        if (strcmp(c->name, last) != 0) {
            (void)printf("complete -c sluice -n __fish_use_subcommand -a %s", c->name);
            if (!c->verb) {
                (void)printf(" -d '");
                fish_text(c->sentence);
                (void)printf("'");
            }
            (void)printf("\n");
        }
        last = c->name;
        if (c->verb) {
            (void)printf("complete -c sluice -n '__fish_seen_subcommand_from %s; and not "
                         "__fish_seen_subcommand_from " STR_FMT "' -a %s -d '",
                         c->name, STR_ARG(words_of(a, c->name)), c->verb);
            fish_text(c->sentence);
            (void)printf("'\n");
        }
        for (const struct option_def *o = option_defs; o->name; o++) {
            if (!option_is_of(o, c))
                continue;
            (void)printf("complete -c sluice -n '__fish_seen_subcommand_from %s%s%s' -l %s%s -d '",
                         c->name, c->verb ? "; and __fish_seen_subcommand_from " : "",
                         c->verb ? c->verb : "", o->name, o->kind == OPTION_FLAG ? "" : " -r");
            fish_text(o->sentence);
            (void)printf("'\n");
        }
    }
    (void)printf(
        "complete -c sluice -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n");
}

int cmd_completion(struct cli *c)
{
    if (strcmp(c->args[0], "bash") == 0)
        bash(c->arena);
    else if (strcmp(c->args[0], "zsh") == 0)
        zsh(c->arena);
    else if (strcmp(c->args[0], "fish") == 0)
        fish(c->arena);
    else
        return cli_usage(c, "no completion for '%s': bash, zsh or fish", c->args[0]);
    return 0;
}
