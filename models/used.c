/* When each model was used: a JSON object of paths and seconds since the epoch. */
#include "models/facts.h"
#include "models/list.h"
#include "models/stores.h"

#include "base/mem.h"

#include <stdlib.h>
#include <time.h>

int models_note_used(const char *used_file, const char *path, struct err *err) {
    char *whole = realpath(
        path, NULL); /* a relative name means something else tomorrow; links stay links only in stores */
    json_t *used = json_file_read(used_file);
    const char *key = path[0] == '/' || !whole ? path : whole;
    int status = STATUS_OK;
    if (json_object_set_new(used, key, json_integer((json_int_t)time(NULL))) == 0)
        status = json_file_write(used_file, used, err);
    json_decref(used);
    free(whole);
    return status;
}

char *models_last_used(const char *used_file) {
    json_t *used = json_file_read(used_file), *when;
    const char *path, *best = NULL;
    json_int_t latest = 0;
    json_object_foreach(used, path, when) {
        if (json_integer_value(when) <= latest || !is_file(path)) continue;
        latest = json_integer_value(when);
        best = path;
    }
    char *found = best ? xstrdup(best) : NULL;
    json_decref(used);
    return found;
}
