/* The command line: what is read, where it goes, and what is said about bad input. And /set, which reads the
 * same way. */
#include "app/options.h"
#include "app/slash.h"
#include "app/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ARGS_MAX = 16 };

/* Splits at '|'. */
static int parse(struct options *options, const char *line, struct err *err, char *copy) {
    char *argv[ARGS_MAX + 2] = {"logitop"};
    int argc = 1;
    strcpy(copy, line);
    for (char *rest = copy, *word; *line && argc <= ARGS_MAX && (word = strsep(&rest, "|"));)
        argv[argc++] = word;
    options_begin(options);
    return options_read(options, argc, argv, err);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"--temp|abc", "--temp: found \"abc\", expected a number >= 0"},
        {"--temp|-1", "--temp: found \"-1\", expected a number >= 0"},
        {"--temp|nan", "--temp: found \"nan\", expected a number >= 0"},
        {"--temp|1e99", "--temp: found \"1e99\""},
        {"--temp|", "--temp: found \"\""},
        {"--temp| 1", "--temp: found \" 1\""},
        {"--temp=", "--temp: found \"\""},
        {"--temp", "--temp: found nothing after it, expected T"},
        {"--top-p|1.5", "--top-p: found \"1.5\", expected a number from 0 to 1"},
        {"--top-k|3.5", "--top-k: found \"3.5\", expected a whole number >= 0"},
        {"--top-k|-3", "--top-k: found \"-3\", expected a whole number >= 0"},
        {"--top|257", "--top: found \"257\", expected a whole number from 0 to 256"},
        {"-n|99999999999", "-n: found \"99999999999\", expected a whole number >= 0"},
        {"-n|1x", "-n: found \"1x\""},
        {"--seed|-2", "--seed: found \"-2\", expected a whole number >= 0, or -1 to draw one"},
        {"--seed|9223372036854775808", "--seed: found"},
        {"--device|gpu", "--device: found \"gpu\", expected auto, cpu, cuda or cuda:N"},
        {"--device|cuda:", "--device: found"},
        {"--color|maybe", "--color: found \"maybe\", expected auto, always or never"},
        {"--samplers|top-k;nonsense", "--samplers: "},
        {"--tmep|1", "--tmep: there is no such option, did you mean --temp?"},
        {"--qqqqq", "--qqqqq: there is no such option; logitop --help-all lists them"},
        {"-top-k|3", "-top-k: there is no such option, did you mean --top-k?"},
        {"-y", "-y: there is no such option"},
        {"--plain", "--plain: an option of tokenize, not of the chat"},
        {"tokenize|--temp|1", "--temp: an option of the chat, not of tokenize"},
        {"--raw=yes", "--raw: found the value \"yes\", expected none"},
        {"tokenise", "there is no command \"tokenise\", did you mean tokenize?"},
        {"inspekt", "did you mean inspect?"},
        {"pul|Qwen/Qwen3-4B-GGUF",
         "there is no command \"pul\", did you mean pull? (to say it to the model: -p \"pul Qwen/"},
        {"inpsect|model.gguf", "did you mean inspect?"},
        {"model.gguf", "found the name of a file, \"model.gguf\", expected -m before it (to say it"},
        {"--temp|1|./a/model.gguf|what|now", "\"./a/model.gguf\", expected -m before it"},
        {"--models-dir|here|list", "a command comes first: logitop list [options]"},
        {"-hlep", "-hlep: there is no such option, did you mean --help?"},
        {"-oFILE", "-oFILE: an option of logits, not of the chat"},
        {"-xyz", "-xyz: there is no such option; logitop --help-all lists them"},
        {"-p|a|b", "found both -p and the text \"b\""},
        {"--json|--jsonl", "found both --json and --jsonl"},
        {"--raw|--system|x|y", "found both --raw and --system"},
        {"--raw|--continue|x", "found both --raw and --continue"},
        {"--resume|-p|x", "--resume: found no number, which -p needs"},
        {"--resume=3|--incognito", "found both --incognito and --resume"},
        {"--script|a|-m|b", "found both --script and -m"},
        {"logits|--ids|1", "logits: expected -o OUT.gguf"},
        {"trace|-o|x", "trace: expected --ids"},
        {"logits|1", "logits: found \"1\", expected options only"},
        {"tokenize|a|b", "found \"b\" after \"a\", expected one input only"},
        {"inspect|a|-m|b", "found both -m and \"a\""},
        {"bench|-p|1,x", "-p: found \"1,x\", expected whole numbers >= 0 with commas between them"},
        {"bench|-r|0", "-r: found \"0\", expected a whole number from 1 to 10000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options options;
        struct err err = {0};
        char copy[256];
        int status = parse(&options, cases[i].line, &err, copy);
        if (status != STATUS_USAGE || !strstr(err.text, cases[i].says))
            fail_msg("%s: status %d, \"%s\", expected \"%s\"", cases[i].line, status, err.text,
                     cases[i].says);
        assert_null(strchr(err.text, '\n'));
        options_free(&options);
    }
}

static void test_taken(void **state) {
    (void)state;
    struct options o;
    struct err err = {0};
    char copy[512];

    assert_int_equal(parse(&o, "", &err, copy), STATUS_OK);
    assert_int_equal(o.command, COMMAND_CHAT);
    assert_int_equal(o.settings.top, 20);
    assert_int_equal(o.settings.sampling.top_k, 40);
    assert_true(o.settings.sampling.temperature == 0.8f);
    assert_null(o.text.data);
    options_free(&o);

    assert_int_equal(parse(&o, "-m|a.gguf|--temp=0.5|-n7|--seed|9|why|is|it|--|-x", &err, copy), STATUS_OK);
    assert_string_equal(o.model, "a.gguf");
    assert_true(o.settings.sampling.temperature == 0.5f);
    assert_int_equal(o.settings.n_predict, 7);
    assert_int_equal(o.settings.sampling.seed, 9);
    assert_string_equal(o.text.data, "why is it -x");
    options_free(&o);

    assert_int_equal(
        parse(&o, "-n|-1|--n-predict|3|--presence-penalty|-0.5|--top|0|-c|512|-t|2|--exact|--no-history",
              &err, copy),
        STATUS_OK);
    assert_int_equal(o.settings.n_predict, 3);
    assert_true(o.settings.sampling.presence_penalty == -0.5f);
    assert_int_equal(o.settings.top, 0);
    struct engine_options engine = options_engine(&o, "m");
    assert_int_equal(engine.n_ctx, 512);
    assert_int_equal(engine.n_threads, 2);
    assert_true(engine.exact && o.incognito);
    assert_string_equal(engine.device, "auto");
    options_free(&o);

    static const char *const questions[] = {"lists|please", "core|of|a.b",    "where|is|it.",  "what|is/are",
                                            "--|pul|a/b",   "what is a.gguf", "what|is|a.gguf"};
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        assert_int_equal(parse(&o, questions[i], &err, copy), STATUS_OK); /* no slips of a command */
        options_free(&o);
    }

    static const struct {
        const char *line, *resume, *text;
    } resumes[] = {{"--resume", "", NULL},
                   {"--resume|12|--temp|0", "12", NULL},
                   {"--resume|last", "last", NULL},
                   {"--resume=7|what now", "7", "what now"},
                   {"--resume|tell me more", "", "tell me more"}};
    for (size_t i = 0; i < sizeof resumes / sizeof *resumes; i++) {
        assert_int_equal(parse(&o, resumes[i].line, &err, copy), STATUS_OK);
        assert_string_equal(o.resume, resumes[i].resume);
        if (resumes[i].text)
            assert_string_equal(o.text.data, resumes[i].text);
        else
            assert_null(o.text.data);
        assert_int_equal(o.given != 0, strstr(resumes[i].line, "temp") != NULL);
        options_free(&o);
    }

    assert_int_equal(parse(&o, "bench|-p|512,0,64|-n|0|-d|100|-r|3", &err, copy), STATUS_OK);
    assert_int_equal(o.prompts[0], 512);
    assert_int_equal(o.prompts[1], 64);
    assert_int_equal(o.prompts[2], 0);
    assert_int_equal(o.predicts[0], 0);
    assert_int_equal(o.repeats, 3);
    options_free(&o);

    assert_int_equal(parse(&o, "tokenize|--json-strings|-", &err, copy), STATUS_OK);
    assert_int_equal(o.command, COMMAND_TOKENIZE);
    assert_string_equal(o.input, "-");
    assert_true(o.json_strings && !o.plain);
    options_free(&o);

    assert_int_equal(parse(&o, "trace|--ids|1,2|-o|x.gguf|--positions|last|--chunk|7", &err, copy),
                     STATUS_OK);
    assert_int_equal(o.command, COMMAND_TRACE);
    assert_string_equal(o.positions, "last");
    assert_int_equal(o.chunk, 7);
    options_free(&o);

    /* one word that is no near miss is a text, and -p takes any */
    assert_int_equal(parse(&o, "hello", &err, copy), STATUS_OK);
    assert_string_equal(o.text.data, "hello");
    options_free(&o);
    assert_int_equal(parse(&o, "-p|tokenise", &err, copy), STATUS_OK);
    options_free(&o);
    assert_int_equal(parse(&o, "tokenise this for me", &err, copy), STATUS_OK);
    options_free(&o);
}

/* Every option of every command is in its help, and --help goes before what is wrong after it. */
struct seen {
    const char *text;
    unsigned n;
};

static void see(void *ctx, const char *name, char letter, const char *argument, const char *help) {
    struct seen *seen = ctx;
    char shown[64];
    snprintf(shown, sizeof shown, "%s--%s%s%s", letter ? "" : "    ", name, argument ? " " : "",
             argument ? argument : "");
    if (!strstr(seen->text, shown) || !strstr(seen->text, help)) fail_msg("the help lacks %s", shown);
    seen->n++;
}

static void test_help(void **state) {
    (void)state;
    struct options o;
    struct err err = {0};
    char copy[128];
    struct buf text = {0};
    assert_int_equal(parse(&o, "--help-all|--nonsense", &err, copy), STATUS_OK);
    assert_int_equal(o.help, HELP_ALL);
    options_help(&o, &text);
    struct seen seen = {text.data, 0};
    for (int i = 0; i < COMMAND_COUNT; i++) options_each((enum command_id)i, see, &seen);
    assert_true(seen.n > 60);
    buf_free(&text);
    options_free(&o);

    assert_int_equal(parse(&o, "tokenize|-h", &err, copy), STATUS_OK);
    options_help(&o, &text);
    assert_non_null(strstr(text.data, "--json-strings"));
    assert_null(strstr(text.data, "--temp"));
    buf_free(&text);
    options_free(&o);

    assert_int_equal(parse(&o, "--help", &err, copy), STATUS_OK);
    options_help(&o, &text);
    unsigned lines = 0;
    for (const char *c = text.data; *c; c++) lines += *c == '\n';
    assert_in_range(lines, 15, 40); /* fits a screen */
    buf_free(&text);
    options_free(&o);
}

static void test_settings(void **state) {
    (void)state;
    struct settings settings, before;
    struct err err = {0};
    settings_defaults(&settings);
    assert_int_equal(setting_set(&settings, "top-p", "0.5", &err), STATUS_OK);
    assert_true(settings.sampling.top_p == 0.5f);
    assert_int_equal(setting_set(&settings, "samplers", "temperature;top-k", &err), STATUS_OK);
    assert_int_equal(settings.sampling.order[0], STAGE_TEMPERATURE);
    assert_int_equal(settings.sampling.order[2], STAGE_NONE);
    before = settings;
    assert_int_equal(setting_set(&settings, "top_p", "1", &err), STATUS_USAGE);
    assert_string_equal(err.text, "there is no setting \"top_p\", did you mean top-p?");
    assert_int_equal(setting_set(&settings, "top-p", "2", &err), STATUS_USAGE);
    assert_string_equal(err.text, "top-p: found \"2\", expected a number from 0 to 1");
    assert_memory_equal(&before, &settings, sizeof before);
    struct buf text = {0};
    settings_print(&settings, &text);
    for (const struct setting *s = setting_table; s->name; s++) assert_non_null(strstr(text.data, s->name));
    assert_non_null(strstr(text.data, "temperature;top-k"));
    buf_free(&text);
    settings_print_chain(&settings.sampling, &text);
    assert_string_equal(text.data, "T 0.8 top-k 40 top-p 0.5 min-p 0.05");
    buf_free(&text);
}

static void test_suggest(void **state) {
    (void)state;
    assert_int_equal(suggest_distance("temp", "temp"), 0);
    assert_int_equal(suggest_distance("tmep", "temp"), 1);
    assert_int_equal(suggest_distance("", "abc"), 3);
    assert_int_equal(suggest_distance("kitten", "sitting"), 3);
    char longest[100];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_true(suggest_distance(longest, longest) > 60);
}

static void test_slash_is(void **state) {
    (void)state;
    assert_true(slash_is("/help", 5));
    assert_true(slash_is("/set temp 1", 11));
    assert_true(slash_is("/system a\nb", 11));
    assert_false(slash_is("/etc/passwd is a file", 21));
    assert_false(slash_is("//help", 6));
    assert_false(slash_is("/", 1));
    assert_false(slash_is("help", 4));
    assert_false(slash_is("/1", 2));
    assert_true(slash_is("/?", 2));
    assert_false(slash_is("/? what", 7));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_taken),   cmocka_unit_test(test_help),
        cmocka_unit_test(test_settings), cmocka_unit_test(test_suggest), cmocka_unit_test(test_slash_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
