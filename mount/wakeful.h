/*
 * wakeful.h - keeping a virtual machine's CPUs from halting while requests come.
 */
#ifndef MOUNT_WAKEFUL_H
#define MOUNT_WAKEFUL_H

struct wakeful;

/*
 * Start watching. NULL where it is of no use or not allowed: no virtual CPUs that halt,
 * or no right to open the kernel's latency device (root has it). Starts a thread.
 */
struct wakeful *wakeful_new(void);
void wakeful_free(struct wakeful *w); /* lets the CPUs halt again; NULL is fine */

/* A request came. NULL is fine. Threads: any. */
void wakeful_request(struct wakeful *w);

#endif
