/* Plain folders of files, and LM Studio's, which is one: PUBLISHER/MODEL/FILE.gguf. */
#include "models/stores.h"

#include "base/mem.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct walk {
    struct model_list *list;
    enum model_source source;
    int depth; /* folders that may still be gone down */
};

static void visit(void *ctx, const char *folder, const char *name) {
    struct walk *walk = ctx;
    size_t n = strlen(name);
    char *path = path_join(folder, name);
    if (n > 5 && strcasecmp(name + n - 5, ".gguf") == 0 && is_file(path)) {
        char *shown = xmemdup(name, n - 5);
        list_add(walk->list, walk->source, shown, path, NULL, NULL);
        return;
    }
    if (walk->depth > 0 && name[0] != '.' && is_folder(path)) {
        walk->depth--;
        folder_each(path, visit, walk);
        walk->depth++;
    }
    free(path);
}

void store_folder(struct model_list *list, enum model_source source, const char *folder, int depth) {
    struct walk walk = {list, source, depth};
    folder_each(folder, visit, &walk);
}

/* "downloadsFolder" of its settings, if it was moved. */
static char *moved_folder(const char *root) {
    char *settings_path = path_join(root, "settings.json"), *text = read_small(settings_path), *folder = NULL;
    json_t *settings = text ? json_loads(text, 0, NULL) : NULL;
    const char *moved = json_string_value(json_object_get(settings, "downloadsFolder"));
    if (moved && moved[0] == '/') folder = xstrdup(moved);
    json_decref(settings);
    free(text);
    free(settings_path);
    return folder;
}

void store_lm_studio(struct model_list *list) {
    const char *home = home_folder();
    if (!home) return;
    char *pointer = path_join(home, ".lmstudio-home-pointer"), *root = read_small(pointer);
    if (!root || root[0] != '/') {
        free(root);
        root = path_join(home, ".cache/lm-studio");
        if (!is_folder(root)) {
            free(root);
            root = path_join(home, ".lmstudio");
        }
    }
    char *folder = moved_folder(root);
    if (!folder) folder = path_join(root, "models");
    store_folder(list, MODEL_SOURCE_LM_STUDIO, folder, 2);
    free(folder);
    free(root);
    free(pointer);
}
