/* Paths as they are typed, gone on with by what is in their folders. */
#ifndef LOGITOP_APP_PATH_COMPLETE_H
#define LOGITOP_APP_PATH_COMPLETE_H

#include "base/buf.h"

/* `rest` gets how all that begin so go on behind `typed` ("~/Do" is one in the home): a folder with a slash.
 * Where several do, `choices` lists their names. Reads the folder, which may take what a disk takes. Names
 * that cannot be typed are left out, and hidden ones that were not asked for. */
void path_complete(const char *typed, struct buf *rest, struct buf *choices);

#endif
