/* sim.h - the inside of a GPU that runs on a CPU: threads of a block, memory, streams. No CUDA names.
 *
 *   cuda_sim.h   the same for kernels and host code that g++ compiles: CUDA's names on top of this
 *   cuda_api.cpp, blaslt.cpp   the run-time's and cublasLt's functions
 *   ptx_run.h    the same for kernels out of nvcc's PTX
 *
 * One block runs at a time, each of its threads as a fiber that gives way only where it waits for others: a schedule
 * (GPU_SIM_ORDER) says who goes on. One lock around all of it; what is queued on a stream runs on the host thread that
 * waits for the stream. A breach of CUDA's rules ends the process with the kernel, the line and what was wrong.
 *
 * Environment: GPU_SIM_ORDER=fwd|rev|random|greedy, GPU_SIM_SEED, GPU_SIM_EAGER=1 (streams do not wait),
 * GPU_SIM_FAIL_AT=n (the n-th call fails), GPU_SIM_STICKY=1 (and all after it), GPU_SIM_LOST=FILE (every call fails
 * once the file is there: of the device whose number it says, of all when it says none), GPU_SIM_APPROX=k (errors of up
 * to k * 2^-22 in approximate functions), GPU_SIM_MEMORY (bytes), GPU_SIM_CC (compute capability, 90), GPU_SIM_DEVICES
 * (1), GPU_SIM_UNLIKE=1 (the second device has another name), GPU_SIM_COUNT=1 (count.h), GPU_SIM_PICKY=1 (blaslt.cpp).
 */
#ifndef GPU_SIM_SIM_H
#define GPU_SIM_SIM_H

#include <functional>
#include <memory>
#include <mutex>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <string>
#include <type_traits>
#include <vector>

namespace gpu_sim
{

struct dims {
    unsigned x, y, z;
};

struct thread {
    dims index;
    unsigned linear;
};

/* Of the thread that runs. */
extern thread *self;
extern dims block_index, block_dim, grid_dim;

/* Every warp operation has its own number: lanes that meet must have come for the same. */
enum warp_op { WARP_DOWN = 1, WARP_UP, WARP_XOR, WARP_INDEX, WARP_BALLOT, WARP_SYNC, WARP_MATRIX };

const unsigned WARP = 32;
const size_t STATIC_SHARED_MAX = 48 << 10, SHARED_MAX = 227 << 10, THREADS_MAX = 1024;

/* __syncthreads at `line` of `file`. */
void sync_block(const char *file, int line);
/* The lanes of `mask` meet; what each brought, by lane. Valid until this lane's next warp operation. */
const uint64_t *warp_exchange(unsigned mask, uint64_t value, warp_op op, const char *file, int line);
void *dynamic_shared();
size_t dynamic_shared_bytes();
/* The block's array that `key` stands for, made by the first thread that asks. */
void *static_shared(const void *key, size_t bytes);
/* Errors of approximate functions, as GPU_SIM_APPROX says; `relative` to the value, or to the larger of 1 and it. */
float approximate(float value, bool relative);
float approximate_tanh(
    float x); /* of x itself: an instruction that is off by up to 2^-11 of its value, as soon as any is */

[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

inline unsigned lane()
{
    return self->linear % WARP;
}

/* What every simulated instruction needs. */
#define GPU_SIM_INLINE inline __attribute__((always_inline))

template <class T> GPU_SIM_INLINE uint64_t to_bits(T value)
{
    static_assert(sizeof(T) <= 8, "at most eight bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(value));
    return bits;
}

template <class T> GPU_SIM_INLINE T from_bits(uint64_t bits)
{
    T value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* The value of lane `from`, all lanes of `mask` being there. */
template <class T> T shuffle(unsigned mask, T value, unsigned from, warp_op op, const char *file, int line)
{
    const uint64_t *brought = warp_exchange(mask, to_bits(value), op, file, line);
    if (!(mask >> from & 1))
        fail("%s:%d: a shuffle reads lane %u, which is not in its mask %08x", file, line, from, mask);
    return from_bits<T>(brought[from]);
}

/* Atomic for the sanitizers too, which know it of integers alone; each gives what was there. */
template <class T, class F> T atomic_update(T *at, F change)
{
    using word __attribute__((may_alias)) = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    static_assert(sizeof(T) == sizeof(word), "atomic operations are on 4 or 8 bytes");
    word *bits = reinterpret_cast<word *>(at), old = __atomic_load_n(bits, __ATOMIC_RELAXED), next;
    do
        next = word(to_bits(change(from_bits<T>(old))));
    while (!__atomic_compare_exchange_n(bits, &old, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return from_bits<T>(old);
}

template <class T> T atomic_add(T *at, T value)
{
    return atomic_update(at, [value](T old) { return T(old + value); });
}

template <class T> T atomic_max(T *at, T value)
{
    return atomic_update(at, [value](T old) { return old < value ? value : old; });
}

template <class T> T atomic_min(T *at, T value)
{
    return atomic_update(at, [value](T old) { return value < old ? value : old; });
}

template <class T> T atomic_exch(T *at, T value)
{
    return atomic_update(at, [value](T) { return value; });
}

template <class T> T atomic_cas(T *at, T expected, T value)
{
    return atomic_update(at, [expected, value](T old) { return old == expected ? value : old; });
}

/* Devices. A thread has one at a time, 0 at first; memory, streams, events and graphs are of the one that was the
 * thread's when they were made. What runs on a stream touches memory of the stream's device alone. */
const int MOST_DEVICES = 16;
int device();
void set_device(int number);

/* Grids. `kernel` is called once a thread. Runs at once; device memory must be open. */
struct grid {
    const char *name;
    dims blocks, threads;
    size_t shared_bytes;
};
void run_grid(const grid &what, const std::function<void()> &kernel);
/* 0, or the number of CUDA's error that this launch gives. */
int check_grid(const grid &what, const void *function);
/* cudaFuncSetAttribute: how much dynamic shared memory the function may ask for. */
void allow_shared(const void *function, size_t bytes);

/* Device memory: not to be touched but by kernels and copies, filled with 0xff, ends at a page that nobody may touch.
 */
void *device_alloc(size_t bytes); /* NULL: there is not so much */
bool device_free(void *pointer);  /* false: not one of ours */
/* Whether it points into device memory; fails when only a part of the bytes lies in one allocation. */
bool on_device(const void *pointer, size_t bytes, const char *what);
int device_of(const void *pointer);                      /* -1: it does not point into device memory */
void device_memory(size_t *ret_free, size_t *ret_total); /* of the thread's device */
int work_for(int device); /* what is opened from now on is for work of that device; which one it was for before */
struct device_open {      /* memory is open while one lives */
    device_open();
    ~device_open();
};

/* Streams. A stream that is captured collects what it is given in a graph. */
using work = std::function<void()>;
struct graph;
struct stream;
struct event;
std::recursive_mutex &lock();
stream *stream_new();
int device_of(const stream *s);
int device_of(const event *e);
int device_of(const graph *g);
void stream_free(stream *s);
void enqueue(stream *s, work what);
void wait_stream(stream *s);
void wait_all();
void drop(stream *s); /* forgets what is queued, as a lost device does */
bool idle(stream *s);
bool captures(const stream *s);
/* Kernels, and shapes of products, are loaded when they come for the first time, which must not be in a capture. */
void load(const void *function);
void first_use(const stream *s, const void *function, const char *name);
void first_use(const stream *s, const std::string &product);
bool thread_captures();
void capture_begin(stream *s, bool whole_thread);
graph *capture_end(stream *s); /* NULL: it was not captured */
void enqueue_graph(stream *s, const graph *g);
graph *graph_copy(const graph *g);
void graph_free(graph *g);
event *event_new(bool has_time);
void event_free(event *e);
void event_record(event *e, stream *s);
bool event_done(event *e);
void event_wait(event *e);
/* Pieces of work between two events of one stream. False: one has no time, or was never recorded. */
bool event_spent(const event *from, const event *to, uint64_t *ret_spent);
void stream_wait(stream *s, event *e);

/* Counts a call that can fail; true: this one must. */
bool must_fail(const char *function);
/* Counts streams, events, graphs, handles and memory that the program has and must give back. */
void alive(int change);
long setting(const char *name, long otherwise);

} // namespace gpu_sim

/* For tests: the n-th call from now fails (0: none); how many there were since. */
extern "C" __attribute__((visibility("default"))) void gpu_sim_fail_at(long n, int sticky);
extern "C" __attribute__((visibility("default"))) long gpu_sim_calls(void);
/* With GPU_SIM_COUNT=1 launches, products and copies whose line of count.h has `part` in its name; bytes that they read
 * and wrote. */
extern "C" __attribute__((visibility("default"))) long gpu_sim_counted(const char *part, double *ret_bytes);
/* From now on calls of this function alone are counted, and fail; NULL: all. Borrow. */
extern "C" __attribute__((visibility("default"))) void gpu_sim_fail_only(const char *function);
/* The function that was made to fail last, NULL: none. */
extern "C" __attribute__((visibility("default"))) const char *gpu_sim_failed(void);
/* For libraries that take another one's place (fake/cudnn.cpp): work on a stream; `what` is copied. */
extern "C" __attribute__((visibility("default"))) void gpu_sim_enqueue(void *stream, void (*run)(const void *what),
                                                                       const void *what, size_t bytes);
/* How much the program has not given back. */
extern "C" __attribute__((visibility("default"))) long gpu_sim_alive(void);

#endif
