/*
 * nearest.h - which known word a mistyped one may have been meant for.
 */
#ifndef MOUNT_NEAREST_H
#define MOUNT_NEAREST_H

/* Words that are longer are never suggested, nor are words for them. */
#define NEAREST_BYTES_MAX 32u

struct nearest {
	const char *word;       /* what was typed */
	const char *suggestion; /* the nearest known word so far; NULL if none is near */
	unsigned distance;      /* of the suggestion */
};

/* `word` is borrowed. */
void nearest_init(struct nearest *n, const char *word);

/* Compare with one more known word, which is borrowed. A few mistakes are near, more are not. */
void nearest_try(struct nearest *n, const char *known);

#endif
