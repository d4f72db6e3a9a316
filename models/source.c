#include "models/source.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "models/stores.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool path_is_plain(const char *path) {
    enum { LEN_MAX = 1000, PART_MAX = 250, PARTS_MAX = 8 };
    size_t len = strlen(path), part = 0, parts = 0;
    if (len == 0 || len > LEN_MAX) return false;
    for (size_t at = 0; at <= len;) {
        if (path[at] == '/' || path[at] == '\0') {
            size_t n = at - part;
            if (n == 0 || n > PART_MAX || ++parts > PARTS_MAX ||
                (path[part] == '.' && (n == 1 || (n == 2 && path[part + 1] == '.'))))
                return false;
            part = ++at;
            continue;
        }
        uint32_t c;
        int bytes = utf8_decode(path + at, len - at, &c);
        if (bytes <= 0 || c < 0x20 || (c >= 0x7F && c < 0xA0) || c == '\\') return false;
        at += (size_t)bytes;
    }
    return true;
}

/* One part of a name, ended by one of `ends` or the end. False if it is none. */
static bool take_part(const char **text, const char *ends, char out[static SOURCE_PART_MAX]) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = strspn(*text, letters);
    if (n == 0 || n >= SOURCE_PART_MAX || !strchr(ends, (*text)[n]))
        return false; /* the NUL is one of them */
    memcpy(out, *text, n);
    out[n] = '\0';
    *text += n;
    /* what would be another folder of the cache, or none */
    return out[0] != '.' && !strstr(out, "--") && !strstr(out, "..");
}

static bool skip_word(const char **text, const char *word) {
    size_t n = strlen(word);
    if (strncasecmp(*text, word, n)) return false;
    *text += n;
    return true;
}

/* "/blob/main/FILE" or "/resolve/main/FILE", as a browser shows it. */
static bool take_page(const char *at, struct model_origin *out) {
    if (!skip_word(&at, "/blob/main/") && !skip_word(&at, "/resolve/main/"))
        return strcmp(at, "/tree/main") == 0;
    size_t n = strcspn(at, "?#");
    out->file = xmemdup(at, n);
    return path_is_plain(out->file);
}

static bool parse(const char *at, struct model_origin *out) {
    bool hub = false;
    if (!skip_word(&at, "https://")) skip_word(&at, "http://");
    skip_word(&at, "www.");
    if (skip_word(&at, "hf.co/") || skip_word(&at, "huggingface.co/"))
        hub = true;
    else if (skip_word(&at, OLLAMA_HOST "/") || skip_word(&at, "ollama.com/"))
        out->is_ollama = true;
    if (!take_part(&at, "/:", out->owner)) return false;
    if (*at == '/') {
        at++;
        if (!take_part(&at, ":/", out->name)) return false;
    } else if (hub) {
        return false;
    } else {
        out->is_ollama = true;
        memcpy(out->name, out->owner, sizeof out->name);
        strcpy(out->owner, "library");
    }
    if (*at == ':') {
        at++;
        return take_part(&at, "", out->tag);
    }
    return *at == '\0' || (!out->is_ollama && take_page(at, out));
}

int origin_parse(const char *text, struct model_origin *out, struct err *err) {
    *out = (struct model_origin){0};
    if (parse(text, out)) return STATUS_OK;
    free(out->file);
    out->file = NULL;
    return err_set(err, STATUS_USAGE,
                   "found \"%s\", expected user/repo[:QUANT] of huggingface.co or name[:tag] of ollama.com",
                   text);
}
