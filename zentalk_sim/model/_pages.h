/* Huge pages for Python's own memory: what a large world touches at random then needs few entries of the processor's
   table of pages, and a walk through that table costs as much as the memory itself.

   Python takes memory for its small objects in arenas of 1 MiB. From large_pages() on they are cut from chunks that the
   kernel is asked to back by huge pages (Linux, madvise(2), MADV_HUGEPAGE); it may decline, and nothing changes but
   speed. An arena that is given back waits for the next that is asked for. Other sizes, and arenas from before, go the
   way they went. Called with the interpreter's lock held, as Python's allocators are. */

#ifndef ZENTALK_PAGES_H
#define ZENTALK_PAGES_H

#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#if defined(MADV_HUGEPAGE)

enum {
    HUGE_PAGE_BYTES = 2 << 20,
    ARENA_BYTES = 1 << 20,
    CHUNK_BYTES = 64 << 20,
    MOST_CHUNKS = 4096, /* 256 GiB */
};

typedef struct FreeArena {
    struct FreeArena *next;
} FreeArena;

static PyObjectArenaAllocator usual;
static char *chunks[MOST_CHUNKS];
static int chunk_count;
static char *chunk_left; /* where the newest chunk is not given out yet; NULL without one */
static FreeArena *free_arenas;

static bool new_chunk(void)
{
    if (chunk_count == MOST_CHUNKS)
        return false;
    size_t taken = (size_t)CHUNK_BYTES + HUGE_PAGE_BYTES;
    char *start = mmap(NULL, taken, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return false;
    /* What is before the first whole huge page, and behind the last, goes back. */
    size_t ahead = (HUGE_PAGE_BYTES - (uintptr_t)start % HUGE_PAGE_BYTES) % HUGE_PAGE_BYTES;
    if (ahead > 0)
        munmap(start, ahead);
    munmap(start + ahead + CHUNK_BYTES, HUGE_PAGE_BYTES - ahead);
    chunk_left = chunks[chunk_count++] = start + ahead;
    /* Where it is refused, pages of the usual size do. */
    (void)madvise(chunk_left, CHUNK_BYTES, MADV_HUGEPAGE);
    return true;
}

static void *take_arena(void *context, size_t size)
{
    (void)context;
    if (size != ARENA_BYTES)
        return usual.alloc(usual.ctx, size);
    if (free_arenas != NULL) {
        FreeArena *found = free_arenas;
        free_arenas = found->next;
        return found;
    }
    if (chunk_left == NULL || chunk_left == chunks[chunk_count - 1] + CHUNK_BYTES) {
        if (!new_chunk())
            return usual.alloc(usual.ctx, size);
    }
    char *arena = chunk_left;
    chunk_left += ARENA_BYTES;
    return arena;
}

static void give_arena(void *context, void *arena, size_t size)
{
    (void)context;
    for (int number = 0; number < chunk_count; number++) {
        char *place = arena;
        if (place >= chunks[number] && place < chunks[number] + CHUNK_BYTES) {
            FreeArena *given = arena;
            given->next = free_arenas;
            free_arenas = given;
            return;
        }
    }
    usual.free(usual.ctx, arena, size);
}

/* Whether this system knows such pages; a second call does nothing. */
static bool use_large_pages(void)
{
    if (usual.alloc == NULL) {
        PyObject_GetArenaAllocator(&usual);
        PyObjectArenaAllocator ours = {NULL, take_arena, give_arena};
        PyObject_SetArenaAllocator(&ours);
    }
    return true;
}

#else

static bool use_large_pages(void) { return false; }

#endif

#endif
