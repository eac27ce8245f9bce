/* ptx_run.h - beneath what ptx2cpp.py writes: registers, memory and the functions of PTX.
 *
 * A register is an integer of its width. An address of shared memory has the number of an array above SLOT_BITS and the
 * place in it below, so that every access is checked against its own array; other addresses are the machine's. */
#ifndef GPU_SIM_PTX_RUN_H
#define GPU_SIM_PTX_RUN_H

#include "tests/gpu_sim/count.h"
#include "tests/gpu_sim/matrix.h"

#include <fenv.h>
#include <map>
#include <math.h>
#include <string>
#include <type_traits>

namespace ptx
{

static const char FILE[] = "PTX";

/* -- kernels by their names -- */

struct kernel {
    struct parameter {
        size_t begin, bytes;
    };
    void (*run)(const unsigned char *arguments);
    std::vector<parameter> parameters;
    unsigned max_threads;

    static std::map<std::string, const kernel *> &all()
    {
        static std::map<std::string, const kernel *> table;
        return table;
    }

    kernel(const char *name, void (*run_)(const unsigned char *), std::vector<parameter> parameters_, unsigned max)
        : run(run_), parameters(parameters_), max_threads(max)
    {
        all()[name] = this;
    }
};

/* -- registers -- */

template <class T, class R> GPU_SIM_INLINE T get(R raw)
{
    if constexpr (std::is_floating_point<T>::value)
        return gpu_sim::from_bits<T>(uint64_t(raw));
    else
        return T(raw);
}

template <class R, class T> GPU_SIM_INLINE R put(T value)
{
    if constexpr (std::is_floating_point<T>::value)
        return R(gpu_sim::to_bits(value));
    else
        return R(value);
}

/* -- memory -- */

const unsigned SLOT_BITS = 20;
const uint32_t DYNAMIC = 2047u << SLOT_BITS;

struct shared_slots {
    std::vector<size_t> sizes; /* of slots 1, 2, ...; 0 is none, so that a null pointer is caught */

    char *find(uint32_t slot, size_t *ret_bytes) const
    {
        *ret_bytes = slot == DYNAMIC >> SLOT_BITS ? gpu_sim::dynamic_shared_bytes() : 0;
        if (*ret_bytes)
            return static_cast<char *>(gpu_sim::dynamic_shared());
        if (!slot || slot > sizes.size())
            return nullptr;
        *ret_bytes = sizes[slot - 1];
        return static_cast<char *>(gpu_sim::static_shared(&sizes[slot - 1], *ret_bytes));
    }
};

GPU_SIM_INLINE void check_alignment(uint64_t address, size_t bytes, int line)
{
    if (address % bytes)
        gpu_sim::fail("line %d of the PTX: %zu bytes at the address %#llx", line, bytes, (unsigned long long)address);
}

template <class T, int N> GPU_SIM_INLINE T *plain(uint64_t base, int64_t offset, int line)
{
    check_alignment(base + uint64_t(offset), sizeof(T) * N, line);
    return reinterpret_cast<T *>(base + uint64_t(offset));
}

/* Global memory, as GPU_SIM_COUNT wants to know it. */
GPU_SIM_INLINE void count(const void *at, size_t bytes, bool stores)
{
    if (__builtin_expect(gpu_sim::counts, false))
        gpu_sim::count_access(at, bytes, stores);
}

template <class T, int N> GPU_SIM_INLINE T *shared(const shared_slots &slots, uint64_t base, int64_t offset, int line)
{
    uint32_t address = uint32_t(base + uint64_t(offset)), place = address % (1u << SLOT_BITS);
    size_t bytes;
    char *array = slots.find(address >> SLOT_BITS, &bytes);
    check_alignment(place, sizeof(T) * N, line);
    if (!array || place + sizeof(T) * N > bytes)
        gpu_sim::fail("line %d of the PTX: byte %u of an array of shared memory of %zu bytes", line, place, bytes);
    return reinterpret_cast<T *>(array + place);
}

template <class T> GPU_SIM_INLINE const T *parameter(const unsigned char *arguments, size_t at)
{
    return reinterpret_cast<const T *>(arguments + at);
}

template <class T> uint64_t address(T *variable)
{
    return uint64_t(reinterpret_cast<uintptr_t>(variable));
}

inline uint64_t to_generic(const shared_slots &slots, uint64_t offset)
{
    size_t bytes;
    return address(slots.find(uint32_t(offset) >> SLOT_BITS, &bytes)) + offset % (1u << SLOT_BITS);
}

inline uint64_t from_generic(const shared_slots &slots, uint64_t generic)
{
    for (uint32_t slot = 0; slot <= slots.sizes.size(); slot++) {
        uint32_t number = slot ? slot : DYNAMIC >> SLOT_BITS;
        size_t bytes;
        uint64_t begin = address(slots.find(number, &bytes));
        if (begin && generic >= begin && generic <= begin + bytes)
            return (uint64_t(number) << SLOT_BITS) + (generic - begin);
    }
    gpu_sim::fail("an address is taken for one of shared memory");
}

/* -- threads -- */

inline uint32_t shuffle(uint32_t value, uint32_t b, uint32_t c, uint32_t mask, gpu_sim::warp_op op, bool *ret_inside,
                        int line)
{
    unsigned lane = gpu_sim::lane(), segment = c >> 8 & 31, clamp = c & 31;
    unsigned last = (lane & segment) | (clamp & ~segment), first = lane & segment;
    int from = int(lane);
    switch (op) {
    case gpu_sim::WARP_UP:
        from -= int(b);
        *ret_inside = from >= int(last);
        break;
    case gpu_sim::WARP_DOWN:
        from += int(b);
        *ret_inside = from <= int(last);
        break;
    case gpu_sim::WARP_XOR:
        from ^= int(b);
        *ret_inside = from <= int(last);
        break;
    default:
        from = int(first | (b & ~segment));
        *ret_inside = from <= int(last);
    }
    return gpu_sim::shuffle(mask, value, *ret_inside ? unsigned(from) : lane, op, FILE, line);
}

inline uint32_t ballot(uint32_t mask, bool predicate, int line)
{
    const uint64_t *brought = gpu_sim::warp_exchange(mask, predicate, gpu_sim::WARP_BALLOT, FILE, line);
    uint32_t votes = 0;
    for (unsigned i = 0; i < gpu_sim::WARP; i++)
        if ((mask >> i & 1) && brought[i])
            votes |= 1u << i;
    return votes;
}

/* -- matrices -- */

inline float number_of(float value)
{
    return gpu_sim::from_bits<float>(gpu_sim::to_bits(value) &
                                     0xffffe000u); /* TF32: the lowest bits are not looked at */
}

inline float number_of(uint16_t bits)
{
    return gpu_sim::from_bits<float>(uint64_t(bits) << 16);
}

/* A lane's registers of a matrix of products, number after number. */
template <class T> struct lane_matrix {
    static const unsigned DEEP = sizeof(T) == 2 ? 16 : 8, NUMBERS = gpu_sim::lane_numbers(DEEP);
    union {
        uint32_t registers[4];
        T numbers[NUMBERS];
    };

    void load_rows(const T *from, uint32_t apart, int line) /* of a */
    {
        gpu_sim::check_matrix(from, apart * sizeof(T), FILE, line);
        gpu_sim::each_number(NUMBERS, DEEP,
                             [&](unsigned i, unsigned row, unsigned k) { numbers[i] = from[row * apart + k]; });
    }

    void load_columns(const T *from, uint32_t apart, int line) /* of b */
    {
        gpu_sim::check_matrix(from, apart * sizeof(T), FILE, line);
        gpu_sim::each_number(NUMBERS, gpu_sim::SIDE,
                             [&](unsigned i, unsigned k, unsigned column) { numbers[i] = from[column * apart + k]; });
    }

    void get(float *to) const
    {
        for (unsigned i = 0; i < NUMBERS; i++)
            to[i] = number_of(numbers[i]);
    }
};

template <class T> void multiply_matrices(float *c, const lane_matrix<T> &a, const lane_matrix<T> &b, int line)
{
    float a_numbers[lane_matrix<T>::NUMBERS], b_numbers[lane_matrix<T>::NUMBERS];
    a.get(a_numbers);
    b.get(b_numbers);
    gpu_sim::multiply_matrices(lane_matrix<T>::DEEP, c, a_numbers, b_numbers, FILE, line);
}

inline void store_matrix(float *to, const float *results, uint32_t apart, int line)
{
    gpu_sim::check_matrix(to, apart * sizeof(float), FILE, line);
    gpu_sim::each_number(gpu_sim::lane_numbers(gpu_sim::SIDE), gpu_sim::SIDE,
                         [&](unsigned i, unsigned row, unsigned column) { to[row * apart + column] = results[i]; });
}

/* -- mathematics -- */

template <class T> T flush(T value)
{
    if constexpr (std::is_same<T, float>::value)
        return fabsf(value) < 0x1p-126f ? copysignf(0.0f, value) : value;
    else
        return value;
}

/* Into [0, 1]; a NaN becomes 0. */
inline float saturate(float value)
{
    return value > 0.0f ? fminf(value, 1.0f) : 0.0f;
}

inline float fused(float a, float b, float c)
{
    return fmaf(a, b, c);
}

inline double fused(double a, double b, double c)
{
    return fma(a, b, c);
}

/* a * b + c, rounded by `mode`; volatile, so that it is computed between the changes of the mode. */
inline float directed(int mode, float a, float b, float c)
{
    int before = fegetround();
    fesetround(mode);
    volatile float x = a, result = fmaf(x, b, c);
    fesetround(before);
    return result;
}

template <class T> T root(T value)
{
    return std::is_same<T, float>::value ? T(sqrtf(float(value))) : T(sqrt(double(value)));
}

/* rcp.approx.ftz.f64: the upper half of the bits of 1 / value. */
inline double rough_reciprocal(double value)
{
    return gpu_sim::from_bits<double>(gpu_sim::to_bits(1.0 / value) & 0xffffffff00000000ull);
}

/* div.approx.f32: what has a divisor above 2^126 is 0. */
inline float rough_quotient(float a, float b)
{
    return fabsf(b) > 0x1p126f && !isinf(b) ? a * copysignf(0.0f, b) : a / b;
}

template <class T> T magnitude(T value)
{
    if constexpr (std::is_floating_point<T>::value)
        return gpu_sim::from_bits<T>(gpu_sim::to_bits(value) & (uint64_t(1) << (8 * sizeof(T) - 1)) - 1);
    else
        return value < 0 ? T(-value) : value;
}

/* The magnitude of b with the sign of a. */
template <class T> T copy_sign(T a, T b)
{
    return T(copysign(double(b), double(a)));
}

/* Of a NaN and a number, the number. */
template <class T> T minimum(T a, T b)
{
    if constexpr (std::is_floating_point<T>::value)
        return T(fmin(double(a), double(b)));
    else
        return b < a ? b : a;
}

template <class T> T maximum(T a, T b)
{
    if constexpr (std::is_floating_point<T>::value)
        return T(fmax(double(a), double(b)));
    else
        return a < b ? b : a;
}

template <class T> T round_rni(T value)
{
    return T(nearbyint(double(value)));
}

template <class T> T round_rzi(T value)
{
    return T(trunc(double(value)));
}

template <class T> T round_rmi(T value)
{
    return T(floor(double(value)));
}

template <class T> T round_rpi(T value)
{
    return T(ceil(double(value)));
}

/* Of a whole number; what does not fit becomes the nearest that does, a NaN 0. */
template <class I, class T> I to_integer(T value)
{
    const double bound = ldexp(1.0, int(8 * sizeof(I)) - std::is_signed<I>::value);
    if (value != value)
        return 0;
    if (double(value) >= bound)
        return I(~uint64_t(0) >> (64 - 8 * sizeof(I) + std::is_signed<I>::value));
    if (double(value) < (std::is_signed<I>::value ? -bound : 0.0))
        return std::is_signed<I>::value ? I(uint64_t(1) << (8 * sizeof(I) - 1)) : 0;
    return I(value);
}

inline uint16_t to_bfloat16(float value)
{
    uint32_t bits = uint32_t(gpu_sim::to_bits(value));
    return value != value ? 0x7fff : uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

inline float from_bfloat16(uint16_t bits)
{
    return gpu_sim::from_bits<float>(uint64_t(bits) << 16);
}

/* -- bits -- */

template <class T> T high(T a, T b)
{
    using wide = typename std::conditional<std::is_signed<T>::value, __int128, unsigned __int128>::type;
    return T(wide(a) * wide(b) >> (8 * sizeof(T)));
}

template <class T> T left(T value, uint32_t by)
{
    using plain_type = typename std::make_unsigned<T>::type;
    return by >= 8 * sizeof(T) ? T(0) : T(plain_type(plain_type(value) << by));
}

template <class T> T right(T value, uint32_t by)
{
    if (by >= 8 * sizeof(T))
        return value < 0 ? T(-1) : T(0);
    return T(value >> by);
}

/* Shifts of (b, a), b above. */
inline uint32_t funnel_l_wrap(uint32_t a, uint32_t b, uint32_t by)
{
    by &= 31;
    return uint32_t((uint64_t(b) << 32 | a) << by >> 32);
}

inline uint32_t funnel_r_wrap(uint32_t a, uint32_t b, uint32_t by)
{
    by &= 31;
    return uint32_t((uint64_t(b) << 32 | a) >> by);
}

inline uint32_t funnel_l_clamp(uint32_t a, uint32_t b, uint32_t by)
{
    return by >= 32 ? a : funnel_l_wrap(a, b, by);
}

inline uint32_t funnel_r_clamp(uint32_t a, uint32_t b, uint32_t by)
{
    return by >= 32 ? b : funnel_r_wrap(a, b, by);
}

template <class T> uint32_t popc(T value)
{
    return uint32_t(__builtin_popcountll(value));
}

template <class T> uint32_t clz(T value)
{
    return value ? uint32_t(__builtin_clzll(value)) - uint32_t(64 - 8 * sizeof(T)) : uint32_t(8 * sizeof(T));
}

template <class T> T brev(T value)
{
    T reversed = 0;
    for (unsigned i = 0; i < 8 * sizeof(T); i++)
        reversed = T(reversed << 1 | (value >> i & 1));
    return reversed;
}

/* Bytes of (b, a) by the digits of the selector; a digit's top bit spreads the byte's sign. */
inline uint32_t permute(uint32_t a, uint32_t b, uint32_t selector)
{
    uint64_t bytes = uint64_t(b) << 32 | a;
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned digit = selector >> 4 * i & 15;
        uint32_t byte = uint32_t(bytes >> 8 * (digit & 7)) & 255;
        if (digit & 8)
            byte = byte & 128 ? 255 : 0;
        result |= byte << 8 * i;
    }
    return result;
}

template <class T> T extract(T value, uint32_t position, uint32_t length)
{
    const unsigned bits = 8 * sizeof(T);
    using plain_type = typename std::make_unsigned<T>::type;
    position &= 255;
    length &= 255;
    T sign = std::is_signed<T>::value && value < 0 ? T(-1) : T(0);
    if (!length)
        return 0;
    plain_type field = position >= bits ? plain_type(sign) : plain_type(value >> position);
    if (length >= bits || position + length >= bits)
        return std::is_signed<T>::value ? T(field) : T(field);
    plain_type mask = plain_type((plain_type(1) << length) - 1);
    bool negative = std::is_signed<T>::value && (field >> (length - 1) & 1);
    return T(negative ? plain_type(field | ~mask) : plain_type(field & mask));
}

/* The low bits of a into b. */
template <class T> T insert(T a, T b, uint32_t position, uint32_t length)
{
    const unsigned bits = 8 * sizeof(T);
    position &= 255;
    length &= 255;
    if (!length || position >= bits)
        return b;
    T mask = T(left(length >= bits ? T(~T(0)) : T((T(1) << length) - 1), position));
    return T((b & ~mask) | (left(a, position) & mask));
}

inline uint32_t logic(uint32_t a, uint32_t b, uint32_t c, uint32_t table)
{
    uint32_t result = 0;
    for (unsigned i = 0; i < 8; i++)
        if (table >> i & 1)
            result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result;
}

} // namespace ptx

#endif
