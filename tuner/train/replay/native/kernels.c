/* Runs a recorded step: a list of operations on tensors that stay where they are, without Python or a dispatcher.
 *
 * Each operation computes what the one of PyTorch does that it is named after, to the bit: the same matrix products
 * of the same library, sums in the same order, fused multiply-adds where PyTorch has them (hence -ffp-contract=off
 * for all others). Whoever compiles a step checks that on the machine at hand before the step is used.
 */
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

enum {
    COPY, GATHER, GEMM, SUM, SOFTMAX, RELU, LEAKY_RELU, MUL, ADD, SUB, DIV, MUL_SCALAR, ADD_SCALAR, ADDCMUL, SQRT,
    SIGN, THRESHOLD, LEAKY_SLOPE, MUL_INT, GE_INT, DIV_SCALAR, LERP, RSQRT, TANH, TANH_SLOPE,
    MAX_POOL, MAX_POOL_SLOPE, SUM_ALONG
};

typedef struct {
    int64_t code;
    int64_t n[3];    /* how often for each trial, outermost loop first */
    int64_t s[4][3]; /* strides of the output and the inputs, in elements */
    char *p[4];      /* the output and the inputs */
    int64_t t[4];    /* how far they lie apart from trial to trial, in bytes */
    float x;         /* a number among the arguments */
    int32_t together; /* so many operations, with this one, may go through their tensors side by side */
} Operation;

typedef struct {
    char *target;
    const char *table;
    int64_t count, bytes, apart; /* a row goes to so many places of so many bytes, which begin so far apart */
} Load;

typedef struct {
    char *table;
    const char *source;
    int64_t count, bytes, apart;       /* a row is put together of so many pieces, which begin so far apart */
    int64_t table_apart, source_apart; /* how far the rows of trials lie apart, and what they are made of */
} Save;

typedef void (*Sgemm)(const char *, const char *, const int *, const int *, const int *, const float *, const float *,
                      const int *, const float *, const int *, const float *, float *, const int *);
typedef void (*VectorMath)(int, const float *, float *, int64_t);
static Sgemm sgemm;
static VectorMath vms_sqrt; /* whose last bit is not always that of `sqrtf` */
static VectorMath vms_tanh;
#define VECTOR_MATH_MODE 0x140102 /* as in PyTorch: high accuracy, denormal numbers kept, errors ignored */

#if defined(__AVX512F__)
#define LANES 16
typedef __m512 Vector;
#define EXP_NAME "Sleef_expf16_u10"
#define LOAD_VECTOR _mm512_loadu_ps
#define STORE_VECTOR _mm512_storeu_ps
#elif defined(__AVX2__)
#define LANES 8
typedef __m256 Vector;
#define EXP_NAME "Sleef_expf8_u10"
#define LOAD_VECTOR _mm256_loadu_ps
#define STORE_VECTOR _mm256_storeu_ps
#endif
#ifdef LANES
static Vector (*exponential)(Vector);
#endif

/* Finds what is PyTorch's own. `lanes`: floats in the vectors that it computes with. Returns 0, or what is missing. */
int tuner_open(const char *libtorch, int lanes) {
    void *library = dlopen(libtorch, RTLD_NOW | RTLD_LOCAL);
    if (!library) return 1;
    sgemm = (Sgemm)dlsym(library, "sgemm_");
    vms_sqrt = (VectorMath)dlsym(library, "vmsSqrt");
    vms_tanh = (VectorMath)dlsym(library, "vmsTanh");
    if (!sgemm || !vms_sqrt || !vms_tanh) return 2;
#ifdef LANES
    exponential = (Vector(*)(Vector))dlsym(library, EXP_NAME);
    if (!exponential) return 3;
    return lanes == LANES ? 0 : 4;
#else
    return 4;
#endif
}

/* Elementwise: `EXPRESSION` of a, b, c and x. The inner loop is one of those that compilers turn into vectors. */
#define INNER(SA, SB, SC, T, O, EXPRESSION)                                                                            \
    _Pragma("GCC ivdep") for (int64_t k = 0; k < n; k++) {                                                             \
        const T a = pa[k * (SA)], b = pb[k * (SB)], c = pc[k * (SC)];                                                  \
        (void)a, (void)b, (void)c;                                                                                     \
        po[k] = (O)(EXPRESSION);                                                                                       \
    }

#define ELEMENTWISE(NAME, T, O, EXPRESSION)                                                                            \
    static void NAME(const Operation *op) {                                                                            \
        const float x = op->x;                                                                                         \
        const int64_t n = op->n[2], so = op->s[0][2], sa = op->s[1][2], sb = op->s[2][2], sc = op->s[3][2];            \
        (void)x;                                                                                                       \
        for (int64_t i = 0; i < op->n[0]; i++)                                                                         \
            for (int64_t j = 0; j < op->n[1]; j++) {                                                                   \
                O *po = (O *)op->p[0] + i * op->s[0][0] + j * op->s[0][1];                                             \
                const T *pa = (const T *)op->p[1] + i * op->s[1][0] + j * op->s[1][1];                                 \
                const T *pb = (const T *)op->p[2] + i * op->s[2][0] + j * op->s[2][1];                                 \
                const T *pc = (const T *)op->p[3] + i * op->s[3][0] + j * op->s[3][1];                                 \
                if (so == 1 && sa == 1 && sb == 1 && sc == 1) INNER(1, 1, 1, T, O, EXPRESSION)                         \
                else if (so == 1 && sa == 1 && sb == 1 && sc == 0) INNER(1, 1, 0, T, O, EXPRESSION)                    \
                else if (so == 1 && sa == 1 && sb == 0 && sc == 0) INNER(1, 0, 0, T, O, EXPRESSION)                    \
                else if (so == 1 && sa == 0 && sb == 0 && sc == 0) INNER(0, 0, 0, T, O, EXPRESSION)                    \
                else if (so == 1 && sa == 0 && sb == 1 && sc == 0) INNER(0, 1, 0, T, O, EXPRESSION)                    \
                else                                                                                                   \
                    for (int64_t k = 0; k < n; k++) {                                                                  \
                        const T a = pa[k * sa], b = pb[k * sb], c = pc[k * sc];                                        \
                        (void)a, (void)b, (void)c;                                                                     \
                        po[k * so] = (O)(EXPRESSION);                                                                  \
                    }                                                                                                  \
            }                                                                                                          \
    }

ELEMENTWISE(copy, float, float, a)
ELEMENTWISE(relu, float, float, a < 0.0f ? 0.0f : a)
ELEMENTWISE(leaky_relu, float, float, a > 0.0f ? a : a * x)
ELEMENTWISE(mul, float, float, a * b)
ELEMENTWISE(add, float, float, fmaf(b, x, a))
ELEMENTWISE(sub, float, float, a - b)
ELEMENTWISE(divide, float, float, a / b)
ELEMENTWISE(mul_scalar, float, float, a * x)
ELEMENTWISE(add_scalar, float, float, a + x)
ELEMENTWISE(addcmul, float, float, fmaf(x * b, c, a))
ELEMENTWISE(sign, float, float, (a > 0.0f) - (a < 0.0f))
ELEMENTWISE(threshold, float, float, b <= x ? 0.0f : a)
ELEMENTWISE(leaky_slope, float, float, b > 0.0f ? a : a * x)
ELEMENTWISE(div_scalar, float, float, a / x)
ELEMENTWISE(lerp, float, float, fmaf(x, b - a, a))
ELEMENTWISE(rsqrt, float, float, 1.0f / sqrtf(a))
ELEMENTWISE(tanh_slope, float, float, a * fmaf(-b, b, 1.0f))
ELEMENTWISE(mul_int, int32_t, int32_t, (int32_t)((uint32_t)a * (uint32_t)b))
ELEMENTWISE(ge_int, int32_t, float, a >= b)

/* n = (1, 1, elements), contiguous. */
static void root(const Operation *op) {
    vms_sqrt((int)op->n[2], (const float *)op->p[1], (float *)op->p[0], VECTOR_MATH_MODE);
}

static void hyperbolic_tangent(const Operation *op) {
    vms_tanh((int)op->n[2], (const float *)op->p[1], (float *)op->p[0], VECTOR_MATH_MODE);
}

/* Rows of a table: n = (rows, 1, bytes of a row); inputs: table, indices; s[0][0]: bytes from row to row of the output. */
static void gather(const Operation *op) {
    char *out = op->p[0];
    const char *table = op->p[1];
    const int64_t *index = (const int64_t *)op->p[2], size = op->n[2], apart = op->s[0][0];
    for (int64_t i = 0; i < op->n[0]; i++) memcpy(out + i * apart, table + index[i] * size, size);
}

/* C = A B + x C. n = (1, M, N); s[0..2] = (leading dimension, 0, 0); s[3] = (contraction, whether A, whether B is
 * transposed). The library counts columns first, so that C' = B' A'. */
static void gemm(const Operation *op) {
    const int m = (int)op->n[1], n = (int)op->n[2], k = (int)op->s[3][0];
    const int ldc = (int)op->s[0][0], lda = (int)op->s[1][0], ldb = (int)op->s[2][0];
    const float one = 1.0f;
    sgemm(op->s[3][2] ? "T" : "N", op->s[3][1] ? "T" : "N", &n, &m, &k, &one, (const float *)op->p[2], &ldb,
          (const float *)op->p[1], &lda, &op->x, (float *)op->p[0], &ldc);
}

enum { COLUMNS = 32, LEVELS = 4 };

/* The sums of `width` columns over rows first, first + step, ...: in cascades, as PyTorch's `multi_row_sum`. */
static void cascade(const float *a, int64_t rows, int64_t stride, int width, float *out) {
    float acc[LEVELS][COLUMNS];
    memset(acc, 0, sizeof acc);
    int power = 0;
    while ((INT64_C(1) << power) < rows) power++;
    power = power / LEVELS > 4 ? power / LEVELS : 4;
    const int64_t step = INT64_C(1) << power, mask = step - 1;
    int64_t i = 0;
    while (i + step <= rows) {
        for (int64_t j = 0; j < step; j++, i++)
            for (int c = 0; c < width; c++) acc[0][c] += a[i * stride + c];
        for (int level = 1; level < LEVELS; level++) {
            for (int c = 0; c < width; c++) acc[level][c] += acc[level - 1][c], acc[level - 1][c] = 0.0f;
            if (i & (mask << (level * power))) break;
        }
    }
    for (; i < rows; i++)
        for (int c = 0; c < width; c++) acc[0][c] += a[i * stride + c];
    for (int level = 1; level < LEVELS; level++)
        for (int c = 0; c < width; c++) acc[0][c] += acc[level][c];
    memcpy(out, acc[0], (size_t)width * sizeof(float));
}

/* Sums over rows. n = (1, rows, columns), which are contiguous; s[1][0]: from row to row. PyTorch sums whole groups of
 * four vectors of eight columns straight down, and the columns left over in four interleaved parts. */
static void sum(const Operation *op) {
    const int64_t rows = op->n[1], columns = op->n[2], stride = op->s[1][0], quarter = rows / 4;
    float *out = (float *)op->p[0];
    const float *a = (const float *)op->p[1];
    int64_t c = 0;
    for (; c + COLUMNS <= columns; c += COLUMNS) cascade(a + c, rows, stride, COLUMNS, out + c);
    if (c == columns) return;
    const int width = (int)(columns - c);
    float part[4][COLUMNS];
    for (int q = 0; q < 4; q++) cascade(a + c + q * stride, quarter, 4 * stride, width, part[q]);
    for (int64_t r = 4 * quarter; r < rows; r++)
        for (int k = 0; k < width; k++) part[0][k] += a[r * stride + c + k];
    for (int q = 1; q < 4; q++)
        for (int k = 0; k < width; k++) part[0][k] += part[q][k];
    memcpy(out + c, part[0], (size_t)width * sizeof(float));
}

/* Sums along rows. n = (1, rows, columns), contiguous. PyTorch sums four vectors of eight, in cascades, then what is left. */
static void sum_along(const Operation *op) {
    const int64_t columns = op->n[2], groups = columns / COLUMNS, lanes = COLUMNS / 4;
    const float *a = (const float *)op->p[1];
    for (int64_t i = 0; i < op->n[1]; i++, a += columns) {
        float part[COLUMNS], total = 0.0f;
        cascade(a, groups, COLUMNS, COLUMNS, part);
        int64_t k = groups * COLUMNS;
        for (; k + lanes <= columns; k += lanes)
            for (int c = 0; c < lanes; c++) part[c] += a[k + c];
        for (int q = 1; q < 4; q++)
            for (int c = 0; c < lanes; c++) part[c] += part[q * lanes + c];
        for (; k < columns; k++) total += a[k];
        for (int c = 0; c < lanes; c++) total += part[c];
        ((float *)op->p[0])[i] = total;
    }
}

/* Over the last dimension. n = (1, rows, columns), contiguous; columns are a multiple of 16. */
static void softmax(const Operation *op) {
#ifdef LANES
    const int64_t columns = op->n[2];
    for (int64_t i = 0; i < op->n[1]; i++) {
        const float *a = (const float *)op->p[1] + i * columns;
        float *out = (float *)op->p[0] + i * columns, lane[LANES];
        memcpy(lane, a, sizeof lane);
        for (int64_t k = LANES; k < columns; k += LANES)
            for (int c = 0; c < LANES; c++) lane[c] = a[k + c] > lane[c] ? a[k + c] : lane[c];
        for (int half = LANES / 2; half; half /= 2)
            for (int c = 0; c < half; c++) lane[c] = lane[c + half] > lane[c] ? lane[c + half] : lane[c];
        const float largest = lane[0]; /* a NaN elsewhere still makes the sum, and so the whole row, NaN */
        for (int64_t k = 0; k < columns; k++) out[k] = a[k] - largest;
        for (int64_t k = 0; k < columns; k += LANES) STORE_VECTOR(out + k, exponential(LOAD_VECTOR(out + k)));
        memcpy(lane, out, sizeof lane);
        for (int64_t k = LANES; k < columns; k += LANES)
            for (int c = 0; c < LANES; c++) lane[c] += out[k + c];
        for (int half = LANES / 2; half; half /= 2)
            for (int c = 0; c < half; c++) lane[c] += lane[c + half];
        const float scale = 1.0f / lane[0];
        for (int64_t k = 0; k < columns; k++) out[k] *= scale;
    }
#else
    (void)op;
#endif
}

/* Pools of squares. n = (images, height, width) of the maxima; s[0] = (examples, height, width) of what is pooled, where
 * examples lie side by side; s[1][0] = side of a square. The maxima, what is pooled, and where each was found in it. */
static void max_pool(const Operation *op) {
    const int64_t batch = op->s[0][0], height = op->s[0][1], width = op->s[0][2], size = op->s[1][0];
    float *out = (float *)op->p[0];
    const float *image = (const float *)op->p[1];
    int64_t *index = (int64_t *)op->p[2];
    for (int64_t c = 0; c < op->n[0]; c++, image += height * width * batch)
        for (int64_t i = 0; i < op->n[1]; i++)
            for (int64_t j = 0; j < op->n[2]; j++, out += batch, index += batch) {
                const int64_t corner = i * size * width + j * size;
                for (int64_t b = 0; b < batch; b++) out[b] = image[corner * batch + b], index[b] = corner;
                for (int64_t place = 1; place < size * size; place++) {
                    const int64_t at = corner + place / size * width + place % size;
                    const float *a = image + at * batch;
                    _Pragma("GCC ivdep") for (int64_t b = 0; b < batch; b++) {
                        const int larger = (a[b] > out[b]) | (a[b] != a[b]);
                        out[b] = larger ? a[b] : out[b];
                        index[b] = larger ? at : index[b];
                    }
                }
            }
}

/* As above: the gradient of what is pooled, that of the maxima, and where these were found. */
static void max_pool_slope(const Operation *op) {
    const int64_t batch = op->s[0][0], height = op->s[0][1], width = op->s[0][2], size = op->s[1][0];
    float *out = (float *)op->p[0];
    const float *slope = (const float *)op->p[1];
    const int64_t *index = (const int64_t *)op->p[2];
    memset(out, 0, (size_t)(op->n[0] * height * width * batch) * sizeof(float));
    for (int64_t c = 0; c < op->n[0]; c++, out += height * width * batch)
        for (int64_t i = 0; i < op->n[1]; i++)
            for (int64_t j = 0; j < op->n[2]; j++, slope += batch, index += batch)
                for (int64_t place = 0; place < size * size; place++) {
                    const int64_t at = (i * size + place / size) * width + j * size + place % size;
                    float *target = out + at * batch;
                    _Pragma("GCC ivdep") for (int64_t b = 0; b < batch; b++)
                        target[b] = index[b] == at ? slope[b] + 0.0f : 0.0f;
                }
}

static void (*const RUN[])(const Operation *) = {
    [COPY] = copy, [GATHER] = gather, [GEMM] = gemm, [SUM] = sum, [SOFTMAX] = softmax, [RELU] = relu,
    [LEAKY_RELU] = leaky_relu, [MUL] = mul, [ADD] = add, [SUB] = sub, [DIV] = divide, [MUL_SCALAR] = mul_scalar,
    [ADD_SCALAR] = add_scalar, [ADDCMUL] = addcmul, [SQRT] = root, [SIGN] = sign,
    [THRESHOLD] = threshold, [LEAKY_SLOPE] = leaky_slope, [MUL_INT] = mul_int, [GE_INT] = ge_int,
    [DIV_SCALAR] = div_scalar, [LERP] = lerp, [RSQRT] = rsqrt, [TANH] = hyperbolic_tangent, [TANH_SLOPE] = tanh_slope,
    [MAX_POOL] = max_pool, [MAX_POOL_SLOPE] = max_pool_slope,
    [SUM_ALONG] = sum_along,
};

enum { PIECE = 2048 };

/* Elementwise operations in a row, a piece of their tensors at a time: what one leaves the next finds in the cache. */
static void run_together(const Operation *operations, int64_t trial) {
    int64_t longest = 0;
    for (int i = 0; i < operations->together; i++)
        if (operations[i].n[2] > longest) longest = operations[i].n[2];
    for (int64_t from = 0; from < longest; from += PIECE)
        for (int i = 0; i < operations->together; i++) {
            Operation own = operations[i];
            const int64_t left = own.n[2] - from;
            if (left <= 0) continue;
            own.n[2] = left < PIECE ? left : PIECE;
            for (int k = 0; k < 4; k++) own.p[k] += trial * own.t[k] + from * own.s[k][2] * (int64_t)sizeof(float);
            RUN[own.code](&own);
        }
}

static void load(const Load *from, int64_t step) {
    const char *row = from->table + step * from->count * from->bytes;
    for (int64_t i = 0; i < from->count; i++)
        memcpy(from->target + i * from->apart, row + i * from->bytes, (size_t)from->bytes);
}

static void save(const Save *to, int64_t trial, int64_t step) {
    char *row = to->table + trial * to->table_apart + step * to->count * to->bytes;
    const char *source = to->source + trial * to->source_apart;
    for (int64_t i = 0; i < to->count; i++)
        memcpy(row + i * to->bytes, source + i * to->apart, (size_t)to->bytes);
}

static void run(const Operation *operations, int64_t num_operations, int64_t trial) {
    for (int64_t i = 0; i < num_operations; i += operations[i].together) {
        if (operations[i].together > 1) {
            run_together(operations + i, trial);
            continue;
        }
        Operation own = operations[i];
        for (int k = 0; k < 4; k++) own.p[k] += trial * own.t[k];
        RUN[own.code](&own);
    }
}

typedef struct {
    const Operation *operations;
    int64_t num_operations;
    const Load *loads;
    int64_t num_loads;
    const Save *saves;
    int64_t num_saves, first, last;
} Part;

/* Runs the operations of a part once for each step from `first` up to, not including, `last`, on its row of each table
 * that is loaded, and saves what they leave in its row of each that is saved. All steps of one trial come before those
 * of the next, so that what a trial needs stays in the cache; steps that only save do not depend on one another, and
 * what one has loaded serves all trials. */
static void run_part(const Part *part, int64_t num_trials) {
    const int64_t num_steps = part->last - part->first;
    for (int64_t turn = 0; turn < num_trials * num_steps; turn++) {
        const int64_t trial = part->num_saves ? turn % num_trials : turn / num_steps;
        const int64_t step = part->first + (part->num_saves ? turn / num_trials : turn % num_steps);
        if (!part->num_saves || trial == 0)
            for (int64_t i = 0; i < part->num_loads; i++) load(part->loads + i, step);
        run(part->operations, part->num_operations, trial);
        for (int64_t i = 0; i < part->num_saves; i++) save(part->saves + i, trial, step);
    }
}

void tuner_run(const Part *parts, int64_t num_parts, int64_t num_trials) {
    for (int64_t i = 0; i < num_parts; i++) run_part(parts + i, num_trials);
}
