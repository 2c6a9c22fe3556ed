/*
 * request_room.c - memory for the reply to a request: one block for each thread.
 *
 * The block is kept from request to request. malloc() would return new pages for every large
 * reply, and the kernel would have to clear them.
 */
#include <pthread.h>
#include <stdlib.h>

#include "mount/transport.h"

struct room {
	void *data;
	size_t size;
};
static pthread_key_t request_room_key;
static pthread_once_t request_room_once = PTHREAD_ONCE_INIT;
static int request_room_key_error;

static void request_room_free(void *arg)
{
	struct room *room = arg;

	free(room->data);
	free(room);
}

static void request_room_init(void)
{
	request_room_key_error = pthread_key_create(&request_room_key, request_room_free);
}

void *request_room(struct request *r, size_t size)
{
	struct room *room;

	(void)r;
	if (pthread_once(&request_room_once, request_room_init) || request_room_key_error)
		return NULL;
	room = pthread_getspecific(request_room_key);
	if (!room) {
		room = calloc(1, sizeof(*room));
		if (!room || pthread_setspecific(request_room_key, room)) {
			free(room);
			return NULL;
		}
	}
	if (size > room->size || !room->data) {
		size = (size + 65535) & ~(size_t)65535;
		if (!size)
			size = 65536;
		free(room->data);
		room->size = 0;
		room->data = malloc(size);
		if (room->data)
			room->size = size;
	}
	return room->data;
}
