#include "base/buf.h"
#include "base/mem.h"
#include "tokenizer/internal.h"

#include <stdlib.h>
#include <string.h>

static uint32_t new_node(struct added *added, char byte) {
    grow_array(&added->nodes, &added->cap, added->n + 1, sizeof *added->nodes);
    added->nodes[added->n] = (struct added_node){.id = -1, .byte = (unsigned char)byte};
    return (uint32_t)added->n++;
}

void added_add(struct added *added, const char *text, size_t len, int32_t id) {
    if (added->n == 0) new_node(added, 0);
    unsigned char first = (unsigned char)text[0];
    if (!added->first[first]) {
        added->first[first] = new_node(added, text[0]);
        added->one_first = text[0];
        added->n_first++;
    }
    uint32_t at = added->first[first];
    for (size_t i = 1; i < len; i++) {
        uint32_t child = added->nodes[at].child;
        while (child && added->nodes[child].byte != (unsigned char)text[i]) child = added->nodes[child].next;
        if (!child) {
            child = new_node(added, text[i]);
            added->nodes[child].next = added->nodes[at].child;
            added->nodes[at].child = child;
        }
        at = child;
    }
    added->nodes[at].id = id;
}

size_t added_next(const struct added *added, const char *text, size_t at, size_t end) {
    if (added->n_first == 1) {
        const char *found = memchr(text + at, added->one_first, end - at);
        return found ? (size_t)(found - text) : end;
    }
    while (at < end && !added->first[(unsigned char)text[at]]) at++;
    return at;
}

int32_t added_match(const struct tokenizer *t, const char *text, size_t len, bool control, size_t *matched) {
    const struct added *added = &t->added;
    int32_t found = -1;
    uint32_t at = len ? added->first[(unsigned char)text[0]] : 0;
    for (size_t i = 1; at; i++) {
        const struct added_node *node = &added->nodes[at];
        if (node->id >= 0 && (control || t->types[node->id] == TOKEN_USER_DEFINED)) {
            found = node->id;
            *matched = i;
        }
        if (i == len) break;
        for (at = node->child; at && added->nodes[at].byte != (unsigned char)text[i];)
            at = added->nodes[at].next;
    }
    return found;
}

void added_free(struct added *added) {
    free(added->nodes);
}
