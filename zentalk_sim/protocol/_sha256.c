/* SHA-256 (FIPS 180-4) of bytes that are all there, and HMAC-SHA256 (RFC 2104) under a key of which the two begun
 * states are kept, as RFC 2104 section 4 recommends. hashlib's objects cost more than the hashing itself where texts
 * are as short as frames. The processor's own instructions are used where it has them.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#define MAY_HAVE_INSTRUCTIONS 1
#endif

enum { BLOCK = 64, DIGEST = 32, WORDS = 8, LENGTH = 8 };

typedef void (*Compress)(uint32_t *h, const uint8_t *data, size_t blocks);

static const uint32_t FIRST[WORDS] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t word_at(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

static void put_word(uint32_t word, uint8_t *to)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(word >> (24 - 8 * i));
}

static uint32_t turned(uint32_t word, int by)
{
    return word >> by | word << (32 - by);
}

/* FIPS 180-4, section 6.2.2. */
static void compress_portably(uint32_t *h, const uint8_t *data, size_t blocks)
{
    for (; blocks > 0; blocks--, data += BLOCK) {
        uint32_t w[64], v[WORDS];
        for (int t = 0; t < 16; t++)
            w[t] = word_at(data + 4 * t);
        for (int t = 16; t < 64; t++) {
            uint32_t x = w[t - 15], y = w[t - 2];
            w[t] = w[t - 16] + (turned(x, 7) ^ turned(x, 18) ^ x >> 3) + w[t - 7] +
                   (turned(y, 17) ^ turned(y, 19) ^ y >> 10);
        }
        memcpy(v, h, sizeof v);
        for (int t = 0; t < 64; t++) {
            uint32_t e = v[4], a = v[0];
            uint32_t one = v[7] + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & v[5]) ^ (~e & v[6])) + K[t] +
                           w[t];
            uint32_t two = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
            memmove(v + 1, v, 7 * sizeof *v);
            v[4] += one;
            v[0] = one + two;
        }
        for (int i = 0; i < WORDS; i++)
            h[i] += v[i];
    }
}

#ifdef MAY_HAVE_INSTRUCTIONS
/* Intel's SHA extensions hold the state as (a, b, e, f) and (c, d, g, h), and take four words of the schedule at once. */
__attribute__((target("sha,sse4.1"))) static void compress_by_instructions(uint32_t *h, const uint8_t *data,
                                                                           size_t blocks)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)h), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(h + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8);
    __m128i cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; blocks > 0; blocks--, data += BLOCK) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i w[4];
        for (int i = 0; i < 4; i++)
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), big_endian);
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) {
            __m128i sum = _mm_add_epi32(w[r & 3], _mm_loadu_si128((const __m128i *)(K + 4 * r)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
            if (r < 12) {
                __m128i next = _mm_sha256msg1_epu32(w[r & 3], w[(r + 1) & 3]);
                next = _mm_add_epi32(next, _mm_alignr_epi8(w[(r + 3) & 3], w[(r + 2) & 3], 4));
                w[r & 3] = _mm_sha256msg2_epu32(next, w[(r + 3) & 3]);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1b);
    high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(high, low, 8));
}

static int has_instructions(void)
{
    unsigned int a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & 1u << 29);
}
#endif

static Compress compress = compress_portably;

/* Take in the rest of a text of which ``before`` bytes, whole blocks, are in ``h``, and give the digest. */
static void finish(Compress how, uint32_t *h, uint64_t before, const uint8_t *data, size_t size, uint8_t *out)
{
    uint8_t last[2 * BLOCK] = {0};
    size_t whole = size / BLOCK, left = size % BLOCK;
    size_t blocks = left + 1 + LENGTH <= BLOCK ? 1 : 2;
    uint64_t bits = (before + size) * 8;
    how(h, data, whole);
    memcpy(last, data + whole * BLOCK, left);
    last[left] = 0x80;
    for (int i = 0; i < LENGTH; i++)
        last[blocks * BLOCK - 1 - i] = (uint8_t)(bits >> 8 * i);
    how(h, last, blocks);
    for (int i = 0; i < WORDS; i++)
        put_word(h[i], out + 4 * i);
}

static void hash(Compress how, const uint8_t *data, size_t size, uint8_t *out)
{
    uint32_t h[WORDS];
    memcpy(h, FIRST, sizeof h);
    finish(how, h, 0, data, size, out);
}

static int is_bytes(PyObject *given)
{
    if (PyBytes_Check(given))
        return 1;
    PyErr_SetString(PyExc_TypeError, "wanted: bytes");
    return 0;
}

static PyObject *hashed(Compress how, PyObject *data)
{
    uint8_t out[DIGEST];
    if (!is_bytes(data))
        return NULL;
    hash(how, (const uint8_t *)PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data), out);
    return PyBytes_FromStringAndSize((const char *)out, DIGEST);
}

static PyObject *py_sha256(PyObject *module, PyObject *data)
{
    (void)module;
    return hashed(compress, data);
}

static PyObject *py_sha256_portable(PyObject *module, PyObject *data)
{
    (void)module;
    return hashed(compress_portably, data);
}

static PyObject *py_begun(PyObject *module, PyObject *key)
{
    uint8_t block[BLOCK] = {0}, padded[BLOCK];
    uint32_t states[2][WORDS];
    size_t size;
    (void)module;
    if (!is_bytes(key))
        return NULL;
    size = (size_t)PyBytes_GET_SIZE(key);
    if (size <= BLOCK)
        memcpy(block, PyBytes_AS_STRING(key), size);
    else
        hash(compress, (const uint8_t *)PyBytes_AS_STRING(key), size, block);
    for (int outer = 0; outer < 2; outer++) {
        for (int i = 0; i < BLOCK; i++)
            padded[i] = block[i] ^ (outer ? 0x5c : 0x36);
        memcpy(states[outer], FIRST, sizeof FIRST);
        compress(states[outer], padded, 1);
    }
    return PyBytes_FromStringAndSize((const char *)states, sizeof states);
}

static PyObject *py_mac(PyObject *module, PyObject *const *arguments, Py_ssize_t given)
{
    uint32_t states[2][WORDS];
    uint8_t inner[DIGEST], out[DIGEST];
    (void)module;
    if (given != 2 || !PyBytes_Check(arguments[0]) || PyBytes_GET_SIZE(arguments[0]) != sizeof states ||
        !PyBytes_Check(arguments[1])) {
        PyErr_SetString(PyExc_TypeError, "wanted: what begun() gave, and a text as bytes");
        return NULL;
    }
    memcpy(states, PyBytes_AS_STRING(arguments[0]), sizeof states);
    finish(compress, states[0], BLOCK, (const uint8_t *)PyBytes_AS_STRING(arguments[1]),
           (size_t)PyBytes_GET_SIZE(arguments[1]), inner);
    finish(compress, states[1], BLOCK, inner, DIGEST, out);
    return PyBytes_FromStringAndSize((const char *)out, DIGEST);
}

static PyMethodDef module_functions[] = {
    {"begun", py_begun, METH_O, NULL},
    {"mac", (PyCFunction)(void (*)(void))py_mac, METH_FASTCALL, NULL},
    {"sha256", py_sha256, METH_O, NULL},
    {"sha256_portable", py_sha256_portable, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_sha256",
    .m_methods = module_functions,
};

PyMODINIT_FUNC PyInit__sha256(void)
{
#ifdef MAY_HAVE_INSTRUCTIONS
    if (has_instructions())
        compress = compress_by_instructions;
#endif
    return PyModuleDef_Init(&module_definition);
}
