/* What the queue of a simulated world offers to C: mypyc calls it as it calls its own, with ints as it keeps them.

   Included into what mypyc makes of the modules that use the queue; the Python functions of the same names are in
   _queue.c, which says what each does. */

#ifndef ZENTALK_QUEUE_H
#define ZENTALK_QUEUE_H

#ifndef PY_SSIZE_T_CLEAN
#define PY_SSIZE_T_CLEAN
#endif
#include <Python.h>
#include <stdint.h>

typedef struct {
    /* All return -1 with an exception set. */
    int (*push)(PyObject *queue, int64_t at_us, int64_t priority, int64_t kind, PyObject *by, PyObject *argument);
    int (*take)(PyObject *queue, int64_t end_us);
} QueueFunctions;

typedef struct {
    PyObject_HEAD
    const QueueFunctions *functions;
    int64_t now_us; /* the instant of what was taken last */
    int64_t kind;
    PyObject *by; /* of what was taken last, until someone asks for it */
    PyObject *argument;
} QueueHead;

/* An int of mypyc's: twice its value, or the address of a Python int plus one. */
static inline int zentalk_queue_int(size_t tagged, int64_t *value)
{
    if ((tagged & 1) == 0) {
        *value = (int64_t)tagged >> 1;
        return 1;
    }
    *value = PyLong_AsLongLong((PyObject *)(tagged & ~(size_t)1));
    return *value != -1 || !PyErr_Occurred();
}

static inline char zentalk_queue_push(PyObject *queue, size_t at_us, size_t priority, size_t kind,
                                      PyObject *by, PyObject *argument)
{
    int64_t at, of_instant, of_actor;
    if (!zentalk_queue_int(at_us, &at) || !zentalk_queue_int(priority, &of_instant) ||
        !zentalk_queue_int(kind, &of_actor))
        return 2;
    return ((QueueHead *)queue)->functions->push(queue, at, of_instant, of_actor, by, argument) < 0 ? 2 : 1;
}

static inline char zentalk_queue_take(PyObject *queue, size_t end_us)
{
    int64_t end;
    int taken;
    if (!zentalk_queue_int(end_us, &end))
        return 2;
    taken = ((QueueHead *)queue)->functions->take(queue, end);
    return taken < 0 ? 2 : (char)taken;
}

/* Instants and kinds are short: see push. */
static inline size_t zentalk_queue_taken_us(PyObject *queue)
{
    return (size_t)((QueueHead *)queue)->now_us << 1;
}

static inline size_t zentalk_queue_taken_kind(PyObject *queue)
{
    return (size_t)((QueueHead *)queue)->kind << 1;
}

static inline PyObject *zentalk_queue_given(PyObject **kept)
{
    PyObject *found = *kept;
    *kept = NULL;
    if (found == NULL)
        PyErr_SetString(PyExc_RuntimeError, "nothing was taken from the queue");
    return found;
}

static inline PyObject *zentalk_queue_taken_by(PyObject *queue)
{
    return zentalk_queue_given(&((QueueHead *)queue)->by);
}

static inline PyObject *zentalk_queue_taken_argument(PyObject *queue)
{
    return zentalk_queue_given(&((QueueHead *)queue)->argument);
}

#endif
