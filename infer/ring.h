/* The queue of events from an engine's worker to its owner: one producer, one consumer, no locks, no bound.
 *
 * Events lie one behind the other in chunks, each only as long as its candidates; the producer adds a chunk when one is
 * full, the consumer frees it when it is read. So a whole context of events fits and an idle queue is small. The wake
 * descriptor holds at most one wake. */
#ifndef LOGITOP_INFER_RING_H
#define LOGITOP_INFER_RING_H

#include "infer/engine.h"

struct ring;

struct ring *ring_new(void);
void ring_free(struct ring *ring); /* NULL is fine; no thread may use it any more */
int ring_fd(const struct ring *ring); /* readable when events may be waiting; -1 if the system had no descriptor left */
void ring_put(struct ring *ring, const struct engine_event *event); /* the producer */
bool ring_take(struct ring *ring, struct engine_event *out);        /* the consumer; false: empty, and the wake is cleared or on its way */

#endif
