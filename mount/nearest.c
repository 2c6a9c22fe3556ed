/*
 * nearest.c - the distance between two words: how many letters must be added, removed or
 * replaced, or neighbours exchanged, to make one of the other.
 */
#include "mount/nearest.h"

#include <limits.h>
#include <string.h>

static unsigned nearest_min(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

static unsigned nearest_distance(const char *a, size_t na, const char *b, size_t nb)
{
	/* d[i][j]: the distance between the first i letters of a and the first j of b. */
	unsigned char d[NEAREST_BYTES_MAX + 1][NEAREST_BYTES_MAX + 1];
	size_t i, j;

	for (i = 0; i <= na; i++)
		d[i][0] = (unsigned char)i;
	for (j = 0; j <= nb; j++)
		d[0][j] = (unsigned char)j;
	for (i = 1; i <= na; i++) {
		for (j = 1; j <= nb; j++) {
			unsigned n = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			n = nearest_min(n, d[i - 1][j] + 1u);
			n = nearest_min(n, d[i][j - 1] + 1u);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				n = nearest_min(n, d[i - 2][j - 2] + 1u);
			d[i][j] = (unsigned char)n;
		}
	}
	return d[na][nb];
}

void nearest_init(struct nearest *n, const char *word)
{
	*n = (struct nearest){.word = word, .distance = UINT_MAX};
}

void nearest_try(struct nearest *n, const char *known)
{
	size_t word_size = strlen(n->word), known_size = strlen(known);
	unsigned distance;

	if (word_size > NEAREST_BYTES_MAX || known_size > NEAREST_BYTES_MAX)
		return;
	distance = nearest_distance(n->word, word_size, known, known_size);
	/* A third of the letters wrong, and in short words one: beyond that it is another word. */
	if (distance > (known_size < 6 ? 1 : known_size / 3) || distance >= n->distance)
		return;
	n->distance = distance;
	n->suggestion = known;
}
