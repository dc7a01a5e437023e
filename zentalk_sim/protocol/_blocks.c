/* The blocks of protocol/streams.py's streams in C: BLAKE2b (RFC 7693) under a key, and the ids that a block stands for.

   A stream's next block is a hash that begins with the key, so that of the two blocks which hashlib compresses for it
   the first is always the same. Here it is done once: ``begun`` gives the state behind it, and what is left is one
   compression and one object. The Python functions in streams.py are the definition; both pass the same tests. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK = 128, DIGEST = 64, WORDS = 8, IDS = 4, ID_BYTES = 16, ID_CHARS = 36 };

static const uint64_t INITIAL[WORDS] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* Words are little-endian, numbers and ids big-endian. Spelt out, so that a compiler sees the one load that it is. */
static inline uint64_t word_at(const uint8_t *from)
{
    return (uint64_t)from[0] | (uint64_t)from[1] << 8 | (uint64_t)from[2] << 16 | (uint64_t)from[3] << 24 |
           (uint64_t)from[4] << 32 | (uint64_t)from[5] << 40 | (uint64_t)from[6] << 48 | (uint64_t)from[7] << 56;
}

static inline void put_word(uint64_t word, uint8_t *to)
{
    to[0] = (uint8_t)word, to[1] = (uint8_t)(word >> 8), to[2] = (uint8_t)(word >> 16), to[3] = (uint8_t)(word >> 24);
    to[4] = (uint8_t)(word >> 32), to[5] = (uint8_t)(word >> 40), to[6] = (uint8_t)(word >> 48);
    to[7] = (uint8_t)(word >> 56);
}

#define TURNED(word, by) ((word) >> (by) | (word) << (64 - (by)))
#define MIX(a, b, c, d, x, y)                                                                                          \
    a += b + m[x], d = TURNED(d ^ a, 32), c += d, b = TURNED(b ^ c, 24);                                               \
    a += b + m[y], d = TURNED(d ^ a, 16), c += d, b = TURNED(b ^ c, 63)
#define ROUND(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15)                                    \
    MIX(v0, v4, v8, v12, s0, s1);                                                                                      \
    MIX(v1, v5, v9, v13, s2, s3);                                                                                      \
    MIX(v2, v6, v10, v14, s4, s5);                                                                                     \
    MIX(v3, v7, v11, v15, s6, s7);                                                                                     \
    MIX(v0, v5, v10, v15, s8, s9);                                                                                     \
    MIX(v1, v6, v11, v12, s10, s11);                                                                                   \
    MIX(v2, v7, v8, v13, s12, s13);                                                                                    \
    MIX(v3, v4, v9, v14, s14, s15)

/* RFC 7693 §3.2: ``taken`` bytes in all, this block among them. */
static void compress(uint64_t h[WORDS], const uint8_t block[BLOCK], uint64_t taken, int is_last)
{
    uint64_t m[16];
    uint64_t v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
    uint64_t v8 = INITIAL[0], v9 = INITIAL[1], v10 = INITIAL[2], v11 = INITIAL[3];
    uint64_t v12 = INITIAL[4] ^ taken, v13 = INITIAL[5], v14 = is_last ? ~INITIAL[6] : INITIAL[6], v15 = INITIAL[7];
    for (int i = 0; i < 16; i++)
        m[i] = word_at(block + 8 * i);
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    ROUND(11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4);
    ROUND(7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8);
    ROUND(9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13);
    ROUND(2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9);
    ROUND(12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11);
    ROUND(13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10);
    ROUND(6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5);
    ROUND(10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0);
    ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    ROUND(14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3);
    h[0] ^= v0 ^ v8, h[1] ^= v1 ^ v9, h[2] ^= v2 ^ v10, h[3] ^= v3 ^ v11;
    h[4] ^= v4 ^ v12, h[5] ^= v5 ^ v13, h[6] ^= v6 ^ v14, h[7] ^= v7 ^ v15;
}

static PyObject *py_begun(PyObject *module, PyObject *key)
{
    uint64_t h[WORDS];
    uint8_t block[BLOCK] = {0};
    (void)module;
    if (!PyBytes_Check(key) || PyBytes_GET_SIZE(key) < 1 || PyBytes_GET_SIZE(key) > DIGEST) {
        PyErr_SetString(PyExc_ValueError, "a key is 1 to 64 bytes");
        return NULL;
    }
    memcpy(block, PyBytes_AS_STRING(key), (size_t)PyBytes_GET_SIZE(key));
    memcpy(h, INITIAL, sizeof h);
    h[0] ^= 0x01010000 ^ (uint64_t)PyBytes_GET_SIZE(key) << 8 ^ DIGEST;
    compress(h, block, BLOCK, 0);
    return PyBytes_FromStringAndSize((const char *)h, sizeof h);
}

/* The block of that number; what it is the hash of is the number and the name. 0 with an exception set. */
static int digest(PyObject *const *arguments, Py_ssize_t given, uint8_t out[DIGEST])
{
    uint64_t h[WORDS], number, taken = BLOCK;
    uint8_t block[BLOCK];
    const uint8_t *name;
    size_t left, filled = 8;
    if (given != 3 || !PyBytes_Check(arguments[0]) || PyBytes_GET_SIZE(arguments[0]) != sizeof h ||
        !PyBytes_Check(arguments[2])) {
        PyErr_SetString(PyExc_TypeError, "wanted: what begun() gave, a number, and a name as bytes");
        return 0;
    }
    number = PyLong_AsUnsignedLongLong(arguments[1]);
    if (number == (uint64_t)-1 && PyErr_Occurred())
        return 0;
    memcpy(h, PyBytes_AS_STRING(arguments[0]), sizeof h);
    name = (const uint8_t *)PyBytes_AS_STRING(arguments[2]);
    left = (size_t)PyBytes_GET_SIZE(arguments[2]);
    for (int i = 0; i < 8; i++)
        block[7 - i] = (uint8_t)(number >> 8 * i);
    while (left > BLOCK - filled) {
        memcpy(block + filled, name, BLOCK - filled);
        name += BLOCK - filled;
        left -= BLOCK - filled;
        taken += BLOCK;
        compress(h, block, taken, 0);
        filled = 0;
    }
    memcpy(block + filled, name, left);
    filled += left;
    memset(block + filled, 0, BLOCK - filled);
    compress(h, block, taken + filled, 1);
    for (int i = 0; i < WORDS; i++)
        put_word(h[i], out + 8 * i);
    return 1;
}

static PyObject *py_block(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    uint8_t block[DIGEST];
    (void)module;
    return digest(arguments, given, block) ? PyBytes_FromStringAndSize((const char *)block, DIGEST) : NULL;
}

/* RFC 9562 §5.4, as ``_ids_of`` in streams.py. */
static void write_id(const uint8_t *from, Py_UCS1 *to)
{
    static const char DIGITS[] = "0123456789abcdef";
    Py_UCS1 *at = to;
    for (int i = 0; i < ID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = (Py_UCS1)DIGITS[from[i] >> 4];
        *at++ = (Py_UCS1)DIGITS[from[i] & 15];
    }
    to[14] = '4';
    to[19] = (Py_UCS1)DIGITS[8 | from[8] >> 6];
}

static PyObject *py_ids(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    uint8_t block[DIGEST];
    PyObject *ids;
    (void)module;
    if (!digest(arguments, given, block) || (ids = PyUnicode_New(IDS * ID_CHARS, 127)) == NULL)
        return NULL;
    for (int i = 0; i < IDS; i++)
        write_id(block + ID_BYTES * i, PyUnicode_1BYTE_DATA(ids) + ID_CHARS * i);
    return ids;
}

static PyMethodDef module_functions[] = {
    {"begun", py_begun, METH_O, NULL},
    {"block", (PyCFunction)(void (*)(void))py_block, METH_FASTCALL, NULL},
    {"ids", (PyCFunction)(void (*)(void))py_ids, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_blocks",
    .m_methods = module_functions,
};

PyMODINIT_FUNC PyInit__blocks(void)
{
    return PyModuleDef_Init(&module_definition);
}
