/*
 * array.h - arrays that grow. Knows nothing of a store; all three layers include it.
 */
#ifndef LSM_ARRAY_H
#define LSM_ARRAY_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/*
 * Make room for at least `count` elements in `array`, a pointer that malloc() owns or NULL.
 * `room`, a size_t, is how many fit now. Grows by doubling, from 8 on.
 * 0; -ENOMEM, and nothing has changed.
 */
#define array_reserve(array, room, count)                                                          \
	array_reserve_bytes((void **)&(array), &(room), (count), sizeof(*(array)))

/* What array_reserve() calls; `size` is that of an element, in bytes. */
static inline int array_reserve_bytes(void **array, size_t *room, size_t count, size_t size)
{
	size_t wanted = *room ? *room : 8;
	void *grown;

	if (count <= *room)
		return 0;
	while (wanted < count)
		wanted = wanted > SIZE_MAX / 2 ? count : wanted * 2;
	if (wanted > SIZE_MAX / size)
		return -ENOMEM;
	grown = realloc(*array, wanted * size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*room = wanted;
	return 0;
}

#endif
