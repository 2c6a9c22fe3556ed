/*
 * wakeful.h - keeping a virtual machine's CPUs from halting while requests come.
 */
#ifndef MOUNT_WAKEFUL_H
#define MOUNT_WAKEFUL_H

struct wakeful;

/*
 * Start a thread that keeps the CPUs from halting while many requests come.
 *
 * Returns NULL where that is of no use or not possible: the CPUs are not virtual ones that
 * halt, this process may not open the kernel's latency device (root may), or there is no
 * memory. The caller needs no other path then: all functions accept NULL.
 */
struct wakeful *wakeful_new(void);

/* End the thread. The CPUs may halt again. Accepts NULL. */
void wakeful_free(struct wakeful *w);

/* Count one request. Accepts NULL. Threads: any. */
void wakeful_request(struct wakeful *w);

#endif
