/*
 * alloc.h - an allocator that fails when told to, and threads that cannot be started.
 *
 * The linker wraps every function of our objects that allocates (see the Makefile); those
 * that libraries call for themselves are left alone. Each call is counted while
 * `alloc_counting`, in whatever thread, but for threads that are `alloc_exempt`.
 */
#ifndef TESTS_CRASH_ALLOC_H
#define TESTS_CRASH_ALLOC_H

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
int __real_posix_memalign(void **out, size_t align, size_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_posix_memalign(void **out, size_t align, size_t size);
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap___asprintf_chk(char **out, int flag, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);

static atomic_bool alloc_counting;
static atomic_ullong alloc_count, alloc_from, alloc_to; /* those in [from, to) fail */

static bool alloc_exempt(void); /* the test's: is this its own, and not the subject? */

static bool alloc_fails(void)
{
	unsigned long long n;

	if (!atomic_load(&alloc_counting) || alloc_exempt())
		return false;
	n = atomic_fetch_add(&alloc_count, 1) + 1;
	if (n < atomic_load(&alloc_from) || n >= atomic_load(&alloc_to))
		return false;
	errno = ENOMEM;
	return true;
}

/* From now on count, and fail `times` allocations from the nth on. */
static void alloc_begin(unsigned long long nth, unsigned long long times)
{
	atomic_store(&alloc_count, 0);
	atomic_store(&alloc_from, nth);
	atomic_store(&alloc_to, nth + times);
	atomic_store(&alloc_counting, true);
}

/* No longer. Returns how many there were. */
static unsigned long long alloc_end(void)
{
	atomic_store(&alloc_counting, false);
	return atomic_load(&alloc_count);
}

void *__wrap_malloc(size_t size)
{
	return alloc_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return alloc_fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return alloc_fails() ? NULL : __real_aligned_alloc(align, size);
}

char *__wrap_strdup(const char *s)
{
	return alloc_fails() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return alloc_fails() ? NULL : __real_strndup(s, n);
}

int __wrap_posix_memalign(void **out, size_t align, size_t size)
{
	return alloc_fails() ? ENOMEM : __real_posix_memalign(out, align, size);
}

int __wrap_asprintf(char **out, const char *format, ...)
{
	va_list args;
	int n;

	if (alloc_fails())
		return -1;
	va_start(args, format);
	n = vasprintf(out, format, args);
	va_end(args);
	return n;
}

int __wrap___asprintf_chk(char **out, int flag, const char *format, ...)
{
	va_list args;
	int n;

	(void)flag;
	if (alloc_fails())
		return -1;
	va_start(args, format);
	n = vasprintf(out, format, args);
	va_end(args);
	return n;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg)
{
	return alloc_fails() ? EAGAIN : __real_pthread_create(thread, attr, fn, arg);
}

#endif
