/* grid.cpp - the threads of a block as fibers: schedules, barriers, warp operations, shared memory.
 *
 * A thread is FRESH until it first runs, READY when it may go on, AT_BLOCK or AT_WARP while it waits, DONE after its
 * return. The scheduler passes over all threads in the order that GPU_SIM_ORDER asks for until none is left:
 *
 *   fwd, rev   by number, up or down
 *   random     in a new order each pass
 *   greedy     a warp runs as far as it can before the next one moves: finds reads that are only late by luck
 *
 * For ThreadSanitizer every CUDA thread is a fiber of its own, and a switch orders nothing. A barrier does, by a token
 * of its parity: with one token for all barriers a thread that wakes late would be ordered after what others did past
 * the barrier. So does an operation of a whole warp, for all of whose lanes one token is enough; where a mask leaves
 * out some, each lane has tokens of its own, which is slow. Races between blocks are not seen: they run one after the
 * other. */
#include "tests/gpu_sim/asan.h"
#include "tests/gpu_sim/count.h"
#include "tests/gpu_sim/fiber.h"
#include "tests/gpu_sim/sim.h"

#include <algorithm>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <map>

#ifdef GPU_SIM_TSAN
extern "C" {
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned);
void __tsan_switch_to_fiber(void *, unsigned);
void __tsan_acquire(void *);
void __tsan_release(void *);
}
#define TSAN(...) __VA_ARGS__
static const bool KEEP_STACKS = true; /* no two threads of a block on one: ThreadSanitizer would see a race there */
#else
#define TSAN(...)
static const bool KEEP_STACKS = false;
#endif

namespace gpu_sim
{

thread *self;
dims block_index, block_dim, grid_dim;

namespace
{

const size_t PAGE = 4096;
const unsigned ALL_LANES = 0xffffffffu;
const unsigned NO_ORDER_BY_SWITCH = 1; /* of __tsan_switch_to_fiber */

enum state { FRESH, READY, AT_BLOCK, AT_WARP, DONE };

struct fibered : thread {
    state at;
    fiber *on;
    int held; /* the meeting whose values this lane may still read, -1: none */
    unsigned mask;
    warp_op op;
    const char *file;
    int line;
};

struct meeting {
    uint64_t values[WARP];
    unsigned readers;
    unsigned parity; /* by lane: of how many operations it had behind it */
};

struct warp {
    unsigned arrived;
    uint64_t brought[WARP];
    meeting meetings[WARP + 1]; /* one a lane at most, so that one is always free */
    unsigned met[WARP];         /* operations that each lane has behind it */
    unsigned whole;             /* operations of all lanes that are over */
};

/* Each array has pages of its own and ends at a guard. */
struct shared_area {
    char *pages;
    size_t room;
    const void *key;
    size_t bytes;

    char *data() const
    {
        return pages + room - (bytes + 15) / 16 * 16;
    }
};

std::vector<fibered> threads;
std::vector<warp> warps;
std::vector<unsigned> order;
std::vector<fiber *> idle_fibers, spent_fibers;
fiber scheduler;
fibered *current;
const std::function<void()> *kernel_body;
const char *kernel_name;
unsigned unreturned, at_block, block_phase;
uint64_t noise = 88172645463325252ull;
const size_t EXPECTED_ARRAYS = 8; /* of static shared memory in one kernel */
std::vector<shared_area> arrays;  /* static shared memory, in the order of first use in this grid */
size_t n_arrays;
shared_area dynamic_area;
std::map<std::pair<int, const void *>, size_t> allowed; /* of a device */
TSAN(std::vector<void *> tsan_fibers; void *tsan_scheduler; char token_begin, token_end; uint64_t token_block[2];
     uint64_t token_warp[THREADS_MAX / WARP][2]; uint64_t token_lane[THREADS_MAX / WARP][WARP][2];)

uint64_t next_noise()
{
    noise ^= noise << 13;
    noise ^= noise >> 7;
    noise ^= noise << 17;
    return noise;
}

enum schedule { FORWARD, REVERSE, RANDOM, GREEDY };

schedule schedule_asked()
{
    const char *word = getenv("GPU_SIM_ORDER");
    if (!word || !strcmp(word, "fwd"))
        return FORWARD;
    if (!strcmp(word, "rev"))
        return REVERSE;
    if (!strcmp(word, "random"))
        return RANDOM;
    if (!strcmp(word, "greedy"))
        return GREEDY;
    fail("GPU_SIM_ORDER is '%s', expected fwd, rev, random or greedy", word);
}

bool same_text(const char *a, const char *b)
{
    return a == b || !strcmp(a, b);
}

void give_way()
{
    fiber *mine = current->on;
    TSAN(__tsan_switch_to_fiber(tsan_scheduler, NO_ORDER_BY_SWITCH);)
    fiber_switch(mine, &scheduler);
}

void fiber_main()
{
    for (;;) {
        TSAN(__tsan_acquire(&token_begin);)
        (*kernel_body)();
        TSAN(__tsan_release(&token_end);)
        current->at = DONE;
        give_way();
    }
}

const char *where(const fibered &t)
{
    return t.at == AT_BLOCK ? "__syncthreads" : "a warp operation";
}

/* Nobody may wait for a thread that has returned. */
void check_return(const fibered &t)
{
    for (const fibered &other : threads) {
        if (other.at == AT_BLOCK)
            fail("%s:%d: thread %u returned while thread %u waits in __syncthreads", other.file, other.line, t.linear,
                 other.linear);
        if (other.at == AT_WARP && other.linear / WARP == t.linear / WARP && (other.mask >> t.linear % WARP & 1))
            fail("%s:%d: the mask %08x names lane %u, which has returned", other.file, other.line, other.mask,
                 t.linear % WARP);
    }
}

/* Lets a thread run until it waits or returns. */
void step(fibered *t)
{
    if (t->at == FRESH) {
        if (idle_fibers.empty())
            idle_fibers.push_back(fiber_new(fiber_main));
        t->on = idle_fibers.back();
        idle_fibers.pop_back();
    }
    t->at = READY;
    current = t;
    self = t;
    TSAN(__tsan_switch_to_fiber(tsan_fibers[t->linear], NO_ORDER_BY_SWITCH);)
    fiber_switch(&scheduler, t->on);
    if (t->at != DONE)
        return;
    unreturned--;
    (KEEP_STACKS ? spent_fibers : idle_fibers).push_back(t->on);
    check_return(*t);
}

bool may_run(const fibered &t)
{
    return t.at == FRESH || t.at == READY;
}

bool pass_in_order()
{
    bool moved = false;
    for (unsigned i : order)
        if (may_run(threads[i])) {
            step(&threads[i]);
            moved = true;
        }
    return moved;
}

bool pass_greedily()
{
    bool moved = false;
    size_t first = next_noise() % warps.size();
    for (size_t k = 0; k < warps.size(); k++) {
        size_t begin = (first + k) % warps.size() * WARP, end = std::min(threads.size(), begin + WARP);
        for (bool more = true; more;) {
            more = false;
            for (size_t i = begin; i < end; i++)
                if (may_run(threads[i])) {
                    step(&threads[i]);
                    more = moved = true;
                }
        }
    }
    return moved;
}

template <class T> void mix(std::vector<T> *items)
{
    for (size_t i = items->size(); i > 1; i--)
        std::swap((*items)[i - 1], (*items)[next_noise() % i]);
}

void run_threads(schedule how)
{
    while (unreturned) {
        if (how == RANDOM)
            mix(&order);
        if (how == GREEDY ? pass_greedily() : pass_in_order())
            continue;
        for (const fibered &t : threads)
            if (t.at != DONE)
                fail("%s:%d: no thread can go on; thread %u waits in %s, %u have not returned", t.file, t.line,
                     t.linear, where(t), unreturned);
    }
}

void area_new(shared_area *area, size_t room)
{
    area->room = (room + PAGE - 1) / PAGE * PAGE;
    void *memory = mmap(nullptr, area->room + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("no memory for shared memory");
    area->pages = static_cast<char *>(memory) + PAGE;
    mprotect(area->pages, area->room, PROT_READ | PROT_WRITE);
}

/* What was never written reads as NaN. */
void area_begin(const shared_area &area)
{
    ASAN(__asan_poison_memory_region(area.pages, area.room); __asan_unpoison_memory_region(area.data(), area.bytes);)
    memset(area.data(), 0xff, area.bytes);
}

void begin_block(const grid &what, size_t number)
{
    size_t n = threads.size();
    const dims &b = what.threads, &g = what.blocks;
    block_index = {unsigned(number % g.x), unsigned(number / g.x % g.y), unsigned(number / g.x / g.y)};
    area_begin(dynamic_area);
    for (size_t i = 0; i < n_arrays; i++)
        area_begin(arrays[i]);
    for (warp &w : warps) {
        w.arrived = w.whole = 0;
        memset(w.met, 0, sizeof(w.met));
        for (meeting &m : w.meetings)
            m.readers = 0;
    }
    for (size_t i = 0; i < n; i++) {
        fibered &t = threads[i];
        t = fibered();
        t.held = -1;
        t.linear = unsigned(i);
        t.index = {unsigned(i % b.x), unsigned(i / b.x % b.y), unsigned(i / b.x / b.y)};
    }
    TSAN(__tsan_release(&token_begin);)
    unreturned = unsigned(n);
    at_block = 0;
}

void end_block()
{
    idle_fibers.insert(idle_fibers.end(), spent_fibers.begin(), spent_fibers.end());
    spent_fibers.clear();
    TSAN(__tsan_acquire(&token_end);)
}

bool came_for(const fibered &other, const fibered &me)
{
    return other.mask == me.mask && other.op == me.op && other.line == me.line && same_text(other.file, me.file);
}

/* Whether all lanes of the mask are here. A lane may still be in an operation of others; if that one waits for this
 * lane, neither can go on. */
bool is_complete(const warp &w, const fibered &me)
{
    bool complete = true;
    for (unsigned i = 0; i < WARP; i++) {
        if (!(me.mask >> i & 1))
            continue;
        size_t number = me.linear / WARP * WARP + i;
        if (number >= threads.size() || threads[number].at == DONE)
            fail("%s:%d: the mask %08x names lane %u, which is not there", me.file, me.line, me.mask, i);
        const fibered &other = threads[number];
        bool here = (w.arrived >> i & 1) && came_for(other, me);
        if ((w.arrived >> i & 1) && !here && (other.mask >> lane() & 1))
            fail("%s:%d: lane %u meets lane %u, which came for the warp operation at %s:%d with mask %08x", me.file,
                 me.line, lane(), i, other.file, other.line, other.mask);
        complete = complete && here;
    }
    return complete;
}

/* The last lane has come: all take the values along. */
void complete_meeting(warp *w, unsigned mask, size_t first)
{
    int number = 0;
    while (w->meetings[number].readers)
        number++;
    meeting &m = w->meetings[number];
    memcpy(m.values, w->brought, sizeof(m.values));
    m.readers = unsigned(__builtin_popcount(mask));
    m.parity = 0;
    for (unsigned i = 0; i < WARP; i++)
        if (mask >> i & 1) {
            threads[first + i].held = number;
            threads[first + i].at = READY;
            m.parity |= (w->met[i]++ & 1) << i;
        }
    w->arrived &= ~mask;
    w->whole += mask == ALL_LANES;
}

} // namespace

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "gpu_sim: ");
    if (kernel_name)
        fprintf(stderr, "kernel %s, block (%u, %u, %u): ", kernel_name, block_index.x, block_index.y, block_index.z);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    abort();
}

void sync_block(const char *file, int line)
{
    fibered *me = current;
    me->file = file;
    me->line = line;
    TSAN(uint64_t *token = &token_block[block_phase & 1]; __tsan_release(token);)
    if (unreturned != threads.size())
        fail("%s:%d: __syncthreads after %zu threads returned", file, line, threads.size() - unreturned);
    me->at = AT_BLOCK;
    if (++at_block < unreturned) {
        give_way();
    } else {
        for (fibered &t : threads) {
            if (t.line != line || !same_text(t.file, file))
                fail("thread %u is in __syncthreads at %s:%d, thread %u at %s:%d", me->linear, file, line, t.linear,
                     t.file, t.line);
            t.at = READY;
        }
        at_block = 0;
        block_phase++;
    }
    TSAN(__tsan_acquire(token);)
}

const uint64_t *warp_exchange(unsigned mask, uint64_t value, warp_op op, const char *file, int line)
{
    fibered *me = current;
    warp &w = warps[me->linear / WARP];
    unsigned mine = me->linear % WARP;
    if (!(mask >> mine & 1))
        fail("%s:%d: lane %u is not in the mask %08x that it gives", file, line, mine, mask);
    if (me->held >= 0)
        w.meetings[me->held].readers--;
    me->held = -1;
    me->mask = mask;
    me->op = op;
    me->file = file;
    me->line = line;
    TSAN(bool is_whole = mask == ALL_LANES; uint64_t(*lanes)[2] = token_lane[me->linear / WARP];
         uint64_t *whole = &token_warp[me->linear / WARP][w.whole & 1];
         __tsan_release(is_whole ? whole : &lanes[mine][w.met[mine] & 1]);)
    w.brought[mine] = value;
    w.arrived |= 1u << mine;
    if (is_complete(w, *me)) {
        complete_meeting(&w, mask, me->linear / WARP * WARP);
    } else {
        me->at = AT_WARP;
        give_way();
    }
    const meeting &m = w.meetings[me->held];
    TSAN(if (is_whole) __tsan_acquire(whole);
         else for (unsigned i = 0; i < WARP; i++) if (mask >> i & 1) __tsan_acquire(&lanes[i][m.parity >> i & 1]);)
    return m.values;
}

void *dynamic_shared()
{
    return dynamic_area.data();
}

size_t dynamic_shared_bytes()
{
    return dynamic_area.bytes;
}

void *static_shared(const void *key, size_t bytes)
{
    size_t sum = bytes;
    for (size_t i = 0; i < n_arrays; i++) {
        if (arrays[i].key == key)
            return arrays[i].data();
        sum += arrays[i].bytes;
    }
    if (sum > STATIC_SHARED_MAX)
        fail("%zu bytes of static shared memory, at most %zu", sum, STATIC_SHARED_MAX);
    if (n_arrays == arrays.size()) {
        arrays.push_back(shared_area());
        area_new(&arrays.back(), STATIC_SHARED_MAX);
    }
    shared_area &area = arrays[n_arrays++];
    area.key = key;
    area.bytes = bytes;
    TSAN(for (size_t i = 0; i < bytes; i++) static_cast<volatile char *>(area.data())[i] = char(0xff);
         return area.data();)
    area_begin(area);
    return area.data();
}

static const long errors = setting("GPU_SIM_APPROX", 0);

static float random_error() /* -1 .. 1 */
{
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return float(int32_t(state)) * 0x1p-31f;
}

float approximate(float value, bool relative)
{
    if (!errors)
        return value;
    float size = __builtin_fabsf(value);
    return value + float(errors) * 0x1p-22f * random_error() * (relative ? size : __builtin_fmaxf(size, 1.0f));
}

float approximate_tanh(float x)
{
    float value = __builtin_tanhf(x);
    return errors ? value + 0x1p-11f * random_error() * value : value;
}

void allow_shared(const void *function, size_t bytes)
{
    allowed[{device(), function}] = bytes;
}

int check_grid(const grid &what, const void *function)
{
    const int invalid_value = 1, invalid_configuration = 9;
    const dims &g = what.blocks, &b = what.threads;
    if (!g.x || !g.y || !g.z || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
        return invalid_configuration;
    if (!b.x || !b.y || !b.z || b.z > 64 || size_t(b.x) * b.y * b.z > THREADS_MAX)
        return invalid_configuration;
    auto more = allowed.find({device(), function});
    return what.shared_bytes > (more == allowed.end() ? STATIC_SHARED_MAX : more->second) ? invalid_value : 0;
}

void run_grid(const grid &what, const std::function<void()> &kernel)
{
    schedule how = schedule_asked();
    size_t n = size_t(what.threads.x) * what.threads.y * what.threads.z;
    size_t blocks = size_t(what.blocks.x) * what.blocks.y * what.blocks.z;
    static const bool seeded = (noise += uint64_t(setting("GPU_SIM_SEED", 0)) * 0x9e3779b97f4a7c15ull, true);
    (void)seeded;
    kernel_name = what.name;
    kernel_body = &kernel;
    block_dim = what.threads;
    grid_dim = what.blocks;
    n_arrays = 0;
    if (!dynamic_area.pages)
        area_new(&dynamic_area, SHARED_MAX);
    dynamic_area.bytes = what.shared_bytes;
    while (arrays.size() < EXPECTED_ARRAYS) { /* not by the thread that asks first: its writing would be seen */
        arrays.push_back(shared_area());
        area_new(&arrays.back(), STATIC_SHARED_MAX);
    }
    threads.resize(n);
    warps.resize((n + WARP - 1) / WARP);
    order.resize(n);
    for (size_t i = 0; i < n; i++)
        order[i] = unsigned(how == REVERSE ? n - 1 - i : i);
    std::vector<size_t> numbers(blocks);
    for (size_t i = 0; i < blocks; i++)
        numbers[i] = how == REVERSE ? blocks - 1 - i : i;
    if (how == RANDOM || how == GREEDY)
        mix(&numbers);
    TSAN(tsan_scheduler = __tsan_get_current_fiber();)
    TSAN(while (tsan_fibers.size() < n) tsan_fibers.push_back(__tsan_create_fiber(0));)
    for (size_t number : numbers) {
        begin_block(what, number);
        run_threads(how);
        end_block();
        if (counts)
            count_block();
    }
    if (counts)
        count_launch(what.name, blocks);
    kernel_name = nullptr;
}

} // namespace gpu_sim
