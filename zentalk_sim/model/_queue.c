/* The queue of a simulated world in C: the order of model/calendar.py, which says what it means, without its objects.

   An entry is an instant, what ranks entries of one instant (priority, then the order of scheduling), a function or
   an actor with a kind, and its argument. Those of the next half minute at least wait in a ring of buckets of 2^13 µs,
   in which they are only appended; those of a bucket are put in order once it is opened. What is scheduled into the
   open bucket, or before its end, joins them: they are a heap. What is further away waits in another heap, until the
   ring has come near.

   Two entries never rank equal, so that the order is that of the ranks, whatever the way through ring and heaps. */

#include "_queue.h"

#include "_pages.h"

#include <stdbool.h>
#include <string.h>

enum {
    BUCKET_SHIFT = 13, /* a bucket spans 2^13 µs, as in calendar.py */
    SPAN_SHIFT = 12,   /* a span is 2^12 buckets, 33 s; the ring holds two */
    BUCKETS = 2 << SPAN_SHIFT,
    WORDS = BUCKETS / 64,
    PRIORITY_SHIFT = 62,
    KIND_BITS = 6,
    KEPT_CAPACITY = 16, /* a bucket that held more gives its memory back */
};

#define FARTHEST_US ((int64_t)1 << 62) /* mypyc's ints are that long */

typedef struct {
    int64_t at_us;
    uint64_t rank; /* priority, order of scheduling, kind: 2, 56 and 6 bits */
    PyObject *by;
    PyObject *argument;
} Entry;

typedef struct {
    Entry *entries;
    uint32_t count;
    uint32_t capacity;
} Bucket;

typedef struct {
    QueueHead head;
    uint64_t scheduled;
    int64_t open; /* the number of the open bucket; those before it are over */
    Bucket near;  /* a heap: the open bucket, and what was scheduled into it or before it */
    Bucket far;   /* a heap: what lies beyond the ring */
    Bucket ring[BUCKETS];
    uint64_t filled[WORDS]; /* which buckets of the ring hold something */
} Queue;

/* --- heaps ---------------------------------------------------------------------------------------------------- */

static inline bool before(const Entry *a, const Entry *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->rank < b->rank;
}

static int append(Bucket *bucket, Entry entry)
{
    if (bucket->count == bucket->capacity) {
        uint32_t capacity = bucket->capacity ? 2 * bucket->capacity : 2;
        Entry *entries = bucket->capacity < UINT32_MAX / 2
                             ? PyMem_Realloc(bucket->entries, (size_t)capacity * sizeof(Entry))
                             : NULL;
        if (entries == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        bucket->entries = entries;
        bucket->capacity = capacity;
    }
    bucket->entries[bucket->count++] = entry;
    return 0;
}

static void sift_up(Entry *heap, uint32_t at)
{
    Entry entry = heap[at];
    while (at > 0) {
        uint32_t parent = (at - 1) / 4;
        if (!before(&entry, &heap[parent]))
            break;
        heap[at] = heap[parent];
        at = parent;
    }
    heap[at] = entry;
}

static void sift_down(Entry *heap, uint32_t count, uint32_t at)
{
    Entry entry = heap[at];
    for (;;) {
        uint32_t child = 4 * at + 1, end = child + 4 < count ? child + 4 : count, least = child;
        if (child >= count)
            break;
        while (++child < end)
            if (before(&heap[child], &heap[least]))
                least = child;
        if (!before(&heap[least], &entry))
            break;
        heap[at] = heap[least];
        at = least;
    }
    heap[at] = entry;
}

static int heap_push(Bucket *heap, Entry entry)
{
    if (append(heap, entry) < 0)
        return -1;
    sift_up(heap->entries, heap->count - 1);
    return 0;
}

static Entry heap_pop(Bucket *heap)
{
    Entry first = heap->entries[0];
    if (--heap->count) {
        heap->entries[0] = heap->entries[heap->count];
        sift_down(heap->entries, heap->count, 0);
    }
    return first;
}

static void heapify(Bucket *heap)
{
    if (heap->count > 1)
        for (uint32_t at = (heap->count - 2) / 4 + 1; at-- > 0;)
            sift_down(heap->entries, heap->count, at);
}

/* --- the ring ------------------------------------------------------------------------------------------------- */

static inline int64_t number_of(int64_t at_us)
{
    return at_us >> BUCKET_SHIFT;
}

static inline bool in_ring(const Queue *queue, int64_t number)
{
    return (number >> SPAN_SHIFT) - (queue->open >> SPAN_SHIFT) <= 1;
}

static int ring_push(Queue *queue, int64_t number, Entry entry)
{
    uint32_t slot = number & (BUCKETS - 1);
    if (append(&queue->ring[slot], entry) < 0)
        return -1;
    queue->filled[slot / 64] |= (uint64_t)1 << slot % 64;
    return 0;
}

/* The ring has moved on: what it now reaches comes into it. */
static int come_near(Queue *queue)
{
    while (queue->far.count && in_ring(queue, number_of(queue->far.entries[0].at_us))) {
        if (ring_push(queue, number_of(queue->far.entries[0].at_us), queue->far.entries[0]) < 0)
            return -1;
        heap_pop(&queue->far);
    }
    return 0;
}

/* The number of the first bucket after the open one that holds something; false where the ring is empty. */
static bool next_filled(const Queue *queue, int64_t *number)
{
    uint32_t start = (queue->open + 1) & (BUCKETS - 1), word = start / 64;
    uint64_t bits = queue->filled[word] & ~(uint64_t)0 << start % 64;
    for (int looked = 0; looked < WORDS; looked++) {
        if (bits) {
            uint32_t slot = word * 64 + (uint32_t)__builtin_ctzll(bits);
            *number = queue->open + 1 + ((slot - start) & (BUCKETS - 1));
            return true;
        }
        word = (word + 1) % WORDS;
        bits = queue->filled[word];
    }
    return false;
}

/* Open the next bucket, so that its entries are in ``near``: 1; 0 where none begins before ``end_us``. */
static int open_bucket(Queue *queue, int64_t end_us)
{
    int64_t number;
    uint32_t slot;
    Bucket emptied;
    if (!next_filled(queue, &number)) {
        if (!queue->far.count || queue->far.entries[0].at_us >= end_us)
            return 0;
        /* Nothing lies between: the ring goes on one bucket before the span of the first. */
        queue->open = ((number_of(queue->far.entries[0].at_us) >> SPAN_SHIFT) << SPAN_SHIFT) - 1;
        if (come_near(queue) < 0)
            return -1;
        next_filled(queue, &number);
    }
    if (number * ((int64_t)1 << BUCKET_SHIFT) >= end_us)
        return 0;
    slot = number & (BUCKETS - 1);
    emptied = queue->near;
    queue->near = queue->ring[slot];
    queue->filled[slot / 64] &= ~((uint64_t)1 << slot % 64);
    if (emptied.capacity > KEPT_CAPACITY) {
        PyMem_Free(emptied.entries);
        emptied = (Bucket){0};
    }
    queue->ring[slot] = emptied;
    queue->open = number;
    heapify(&queue->near);
    return come_near(queue) < 0 ? -1 : 1;
}

/* --- what callers do with it ---------------------------------------------------------------------------------- */

static int push(PyObject *self, int64_t at_us, int64_t priority, int64_t kind, PyObject *by, PyObject *argument)
{
    Queue *queue = (Queue *)self;
    int64_t number = number_of(at_us);
    uint64_t rank = (uint64_t)priority << PRIORITY_SHIFT | queue->scheduled << KIND_BITS | (uint64_t)kind;
    Entry entry = {at_us, rank, by, argument};
    int done;
    if (at_us < queue->head.now_us) {
        /* A format must be ASCII, what it is given UTF-8. */
        PyErr_Format(PyExc_ValueError, "scheduled %lld %s in the past", (long long)(queue->head.now_us - at_us), "µs");
        return -1;
    }
    if (at_us >= FARTHEST_US || (uint64_t)priority > 3 || (uint64_t)kind >= 1 << KIND_BITS) {
        PyErr_Format(PyExc_OverflowError, "no entry holds instant %lld, priority %lld, kind %lld", (long long)at_us,
                     (long long)priority, (long long)kind);
        return -1;
    }
    if (number <= queue->open)
        done = heap_push(&queue->near, entry);
    else if (in_ring(queue, number))
        done = ring_push(queue, number, entry);
    else
        done = heap_push(&queue->far, entry);
    if (done < 0)
        return -1;
    queue->scheduled++;
    Py_INCREF(by);
    Py_INCREF(argument);
    return 0;
}

static int take(PyObject *self, int64_t end_us)
{
    Queue *queue = (Queue *)self;
    Entry entry;
    if (!queue->near.count) {
        int opened = open_bucket(queue, end_us);
        if (opened <= 0)
            return opened;
    }
    if (queue->near.entries[0].at_us >= end_us)
        return 0;
    entry = heap_pop(&queue->near);
    queue->head.now_us = entry.at_us;
    queue->head.kind = entry.rank & ((1 << KIND_BITS) - 1);
    Py_XSETREF(queue->head.by, entry.by);
    Py_XSETREF(queue->head.argument, entry.argument);
    return 1;
}

static const QueueFunctions functions = {push, take};

/* --- the type ------------------------------------------------------------------------------------------------- */

static PyTypeObject QueueType;

static PyObject *queue_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"start_us", NULL};
    long long start_us;
    Queue *queue;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "L:Queue", names, &start_us))
        return NULL;
    queue = (Queue *)type->tp_alloc(type, 0); /* all zero: empty */
    if (queue != NULL) {
        queue->head.functions = &functions;
        queue->head.now_us = start_us;
        queue->open = number_of(start_us);
    }
    return (PyObject *)queue;
}

static int bucket_traverse(const Bucket *bucket, visitproc visit, void *arg)
{
    for (uint32_t at = 0; at < bucket->count; at++) {
        Py_VISIT(bucket->entries[at].by);
        Py_VISIT(bucket->entries[at].argument);
    }
    return 0;
}

static int queue_traverse(PyObject *self, visitproc visit, void *arg)
{
    Queue *queue = (Queue *)self;
    int found;
    Py_VISIT(queue->head.by);
    Py_VISIT(queue->head.argument);
    if ((found = bucket_traverse(&queue->near, visit, arg)) || (found = bucket_traverse(&queue->far, visit, arg)))
        return found;
    for (int slot = 0; slot < BUCKETS; slot++)
        if ((found = bucket_traverse(&queue->ring[slot], visit, arg)))
            return found;
    return 0;
}

/* What an entry held may schedule anew while it goes: the bucket is empty before the first of them does. */
static void bucket_clear(Bucket *bucket)
{
    Bucket emptied = *bucket;
    *bucket = (Bucket){0};
    for (uint32_t at = 0; at < emptied.count; at++) {
        Py_DECREF(emptied.entries[at].by);
        Py_DECREF(emptied.entries[at].argument);
    }
    PyMem_Free(emptied.entries);
}

static int queue_clear(PyObject *self)
{
    Queue *queue = (Queue *)self;
    memset(queue->filled, 0, sizeof queue->filled);
    bucket_clear(&queue->near);
    bucket_clear(&queue->far);
    for (int slot = 0; slot < BUCKETS; slot++)
        bucket_clear(&queue->ring[slot]);
    Py_CLEAR(queue->head.by);
    Py_CLEAR(queue->head.argument);
    return 0;
}

static void queue_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    queue_clear(self);
    Py_TYPE(self)->tp_free(self);
}

/* The queue that a function was given first of ``count`` arguments; NULL with an exception set. */
static Queue *queue_of(PyObject *const *arguments, Py_ssize_t given, Py_ssize_t count)
{
    if (given != count || !PyObject_TypeCheck(arguments[0], &QueueType)) {
        PyErr_Format(PyExc_TypeError, "takes a Queue and %zd more", count - 1);
        return NULL;
    }
    return (Queue *)arguments[0];
}

static bool int_of(PyObject *number, int64_t *value)
{
    *value = PyLong_AsLongLong(number);
    return *value != -1 || !PyErr_Occurred();
}

static PyObject *py_push(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Queue *queue = queue_of(arguments, given, 6);
    int64_t at_us, priority, kind;
    if (queue == NULL || !int_of(arguments[1], &at_us) || !int_of(arguments[2], &priority) ||
        !int_of(arguments[3], &kind))
        return NULL;
    if (push((PyObject *)queue, at_us, priority, kind, arguments[4], arguments[5]) < 0)
        return NULL;
    return Py_NewRef(Py_True);
}

static PyObject *py_take(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Queue *queue = queue_of(arguments, given, 2);
    int64_t end_us;
    int taken;
    if (queue == NULL || !int_of(arguments[1], &end_us) || (taken = take((PyObject *)queue, end_us)) < 0)
        return NULL;
    return PyBool_FromLong(taken);
}

static PyObject *py_taken_us(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Queue *queue = queue_of(arguments, given, 1);
    return queue == NULL ? NULL : PyLong_FromLongLong(queue->head.now_us);
}

static PyObject *py_taken_kind(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Queue *queue = queue_of(arguments, given, 1);
    return queue == NULL ? NULL : PyLong_FromLongLong(queue->head.kind);
}

static PyObject *py_taken_by(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Queue *queue = queue_of(arguments, given, 1);
    return queue == NULL ? NULL : zentalk_queue_taken_by((PyObject *)queue);
}

static PyObject *py_taken_argument(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Queue *queue = queue_of(arguments, given, 1);
    return queue == NULL ? NULL : zentalk_queue_taken_argument((PyObject *)queue);
}

static PyObject *py_next_us(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Queue *queue = queue_of(arguments, given, 1);
    if (queue == NULL)
        return NULL;
    if (!queue->near.count) {
        int opened = open_bucket(queue, INT64_MAX);
        if (opened <= 0)
            return opened < 0 ? NULL : Py_NewRef(Py_None);
    }
    return PyLong_FromLongLong(queue->near.entries[0].at_us);
}

/* Nothing before ``now_us`` is left. */
static PyObject *py_set_now(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    Queue *queue = queue_of(arguments, given, 2);
    if (queue == NULL || !int_of(arguments[1], &queue->head.now_us))
        return NULL;
    return Py_NewRef(Py_True);
}

static PyObject *py_large_pages(PyObject *module, PyObject *nothing)
{
    (void)module;
    (void)nothing;
    return PyBool_FromLong(use_large_pages());
}

static PyMethodDef module_functions[] = {
    {"push", (PyCFunction)(void (*)(void))py_push, METH_FASTCALL, NULL},
    {"take", (PyCFunction)(void (*)(void))py_take, METH_FASTCALL, NULL},
    {"taken_us", (PyCFunction)(void (*)(void))py_taken_us, METH_FASTCALL, NULL},
    {"taken_kind", (PyCFunction)(void (*)(void))py_taken_kind, METH_FASTCALL, NULL},
    {"taken_by", (PyCFunction)(void (*)(void))py_taken_by, METH_FASTCALL, NULL},
    {"taken_argument", (PyCFunction)(void (*)(void))py_taken_argument, METH_FASTCALL, NULL},
    {"next_us", (PyCFunction)(void (*)(void))py_next_us, METH_FASTCALL, NULL},
    {"set_now", (PyCFunction)(void (*)(void))py_set_now, METH_FASTCALL, NULL},
    {"large_pages", py_large_pages, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject QueueType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "zentalk_sim.model._queue.Queue",
    .tp_basicsize = sizeof(Queue),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = queue_new,
    .tp_dealloc = queue_dealloc,
    .tp_traverse = queue_traverse,
    .tp_clear = queue_clear,
};

static int module_exec(PyObject *module)
{
    return PyModule_AddType(module, &QueueType);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_queue",
    .m_methods = module_functions,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__queue(void)
{
    return PyModuleDef_Init(&module_definition);
}
