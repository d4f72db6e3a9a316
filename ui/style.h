/* What a cell means, not how it looks: the terminal turns these into colours by what it can show (ui/term.c).
 */
#ifndef LOGITOP_UI_STYLE_H
#define LOGITOP_UI_STYLE_H

enum style {
    STYLE_TEXT,
    STYLE_DIM, /* notes, labels, rules */
    STYLE_STRONG,
    STYLE_BAR, /* header line */
    STYLE_BAR_DIM,
    STYLE_BAR_STRONG,
    STYLE_YOU, /* role names */
    STYLE_BOT,
    STYLE_SYSTEM,
    STYLE_STAND_IN, /* something that must not be shown as it is */
    STYLE_CHOSEN,   /* the candidate that was taken */
    STYLE_CUT,      /* a candidate that a sampler removed */
    STYLE_GAUGE,    /* candidate bars, progress */
    STYLE_GAUGE_REST,
    STYLE_KEY,       /* key bar: name of the key, */
    STYLE_KEY_LABEL, /* and what it does */
    STYLE_PROMPT,
    STYLE_ERROR,
    STYLE_NOTICE,
    STYLE_SELECTED, /* a row of a list */
    STYLE_CURSOR,   /* the token under the cursor of inspect mode */
    STYLE_MARK,     /* where two branches part */
    STYLE_PICKED,   /* a token that a person picked */
    STYLE_HEADING,  /* markdown */
    STYLE_ITALIC,
    STYLE_CODE,
    STYLE_CODE_BLOCK,
    STYLE_THOUGHT, /* what a model thinks before it answers */
    STYLE_MATCH,   /* what was searched for; the one the view was moved to */
    STYLE_MATCH_HERE,
    STYLE_PROB0,                   /* probability below 0.1 ... */
    STYLE_PROB9 = STYLE_PROB0 + 9, /* ... 0.9 and above */
    STYLE_COUNT,
};

#endif
