/* memory.cpp - device memory: pages that only kernels and copies may touch.
 *
 *   | guard page | 0xff ... | what was asked for | guard page |
 *
 * An allocation ends at its guard (to 16 bytes, to the byte under AddressSanitizer). A signal handler says what was
 * touched before the process dies of it. While a kernel or a copy is on its way, it opens what these touch: there may
 * be hundreds of allocations, and they touch a few. Sanitizers have a handler of their own, and all is opened there. */
#include "tests/gpu_sim/asan.h"
#include "tests/gpu_sim/sim.h"

#include <algorithm>
#include <map>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#if !defined(GPU_SIM_ASAN) && !defined(GPU_SIM_TSAN)
static const bool OPENS_WHAT_IS_TOUCHED = true;
#else
static const bool OPENS_WHAT_IS_TOUCHED = false;
#endif

namespace gpu_sim
{

namespace
{

const size_t PAGE = 4096, LARGE = 4 << 20; /* bytes: in huge pages, which are opened and closed in a few steps */

struct allocation {
    size_t room, bytes;
    unsigned number;
    int device;
    bool is_open;
};

std::map<char *, allocation> allocations; /* by their first page */
std::vector<char *> opened;               /* their first pages, with room for all */
unsigned made, open_depth;
size_t used[MOST_DEVICES]; /* bytes that were asked for */
int working;               /* the device whose work it is that memory is opened for */

char *data_of(const std::pair<char *const, allocation> &a)
{
    return a.first + a.second.room - (a.second.bytes + 15) / 16 * 16;
}

/* The allocation whose pages or guards hold the address. */
std::map<char *, allocation>::iterator find(const void *address)
{
    char *at = static_cast<char *>(const_cast<void *>(address));
    auto after = allocations.upper_bound(at + PAGE);
    if (after == allocations.begin())
        return allocations.end();
    --after;
    return at < after->first + after->second.room + PAGE ? after : allocations.end();
}

void set_open(std::pair<char *const, allocation> &a, bool open)
{
    a.second.is_open = open;
    mprotect(a.first, a.second.room, open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

/* Whether it is memory that only has to be opened. */
bool opens(std::map<char *, allocation>::iterator a, const char *at)
{
    if (!open_depth || a == allocations.end() || a->second.is_open || a->second.device != working || at < a->first ||
        at >= a->first + a->second.room)
        return false;
    set_open(*a, true);
    opened.push_back(a->first);
    return true;
}

/* Only what a signal handler may call; then the fault happens again and ends the process. */
void on_fault(int number, siginfo_t *info, void *)
{
    char text[200];
    auto a = find(info->si_addr);
    int n;
    if (opens(a, static_cast<const char *>(info->si_addr)))
        return;
    if (a == allocations.end())
        n = snprintf(text, sizeof(text), "gpu_sim: fault at %p, which is no device memory\n", info->si_addr);
    else if (open_depth && a->second.device != working)
        n = snprintf(text, sizeof(text), "gpu_sim: work of device %d touches allocation %u, which is on device %d\n",
                     working, a->second.number, a->second.device);
    else
        n = snprintf(text, sizeof(text), "gpu_sim: %s at byte %td of allocation %u, which has %zu bytes\n",
                     open_depth ? "a kernel or a copy is out of bounds" : "host code touches device memory",
                     static_cast<char *>(info->si_addr) - data_of(*a), a->second.number, a->second.bytes);
    if (n > 0 && write(2, text, size_t(n)) < 0)
        _exit(2);
    signal(number, SIG_DFL);
}

void watch_faults()
{
    if (!OPENS_WHAT_IS_TOUCHED)
        return;
    static char stack[64 << 10];
    stack_t other = {};
    other.ss_sp = stack;
    other.ss_size = sizeof(stack);
    sigaltstack(&other, nullptr);
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
}

size_t total()
{
    static const size_t bytes = size_t(setting("GPU_SIM_MEMORY", 4l << 30));
    return bytes;
}

} // namespace

void *device_alloc(size_t bytes)
{
    size_t room = (bytes + PAGE - 1) / PAGE * PAGE;
    if (!made)
        watch_faults();
    if (bytes > total() - used[device()])
        return nullptr;
    void *memory = mmap(nullptr, room + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return nullptr;
    if (room >= LARGE)
        (void)madvise(static_cast<char *>(memory) + PAGE, room, MADV_HUGEPAGE);
    auto a = allocations.insert({static_cast<char *>(memory) + PAGE, {room, bytes, made++, device(), false}}).first;
    used[device()] += bytes;
    opened.reserve(allocations.size());
    set_open(*a, true);
    memset(a->first, 0xff, room);
    if (open_depth && working == device())
        opened.push_back(a->first);
    else
        set_open(*a, false);
    ASAN(__asan_poison_memory_region(a->first, room); __asan_unpoison_memory_region(data_of(*a), bytes);)
    return data_of(*a);
}

bool device_free(void *pointer)
{
    auto a = find(pointer);
    if (a == allocations.end() || data_of(*a) != pointer)
        return false;
    ASAN(__asan_unpoison_memory_region(a->first, a->second.room);)
    munmap(a->first - PAGE, a->second.room + 2 * PAGE);
    opened.erase(std::remove(opened.begin(), opened.end(), a->first), opened.end());
    used[a->second.device] -= a->second.bytes;
    allocations.erase(a);
    return true;
}

bool on_device(const void *pointer, size_t bytes, const char *what)
{
    auto a = find(pointer);
    if (a == allocations.end())
        return false;
    const char *begin = static_cast<const char *>(pointer), *first = data_of(*a);
    if (begin < first || begin + bytes > first + a->second.bytes)
        fail("%s: bytes %td to %td of allocation %u, which has %zu", what, begin - first,
             begin - first + ptrdiff_t(bytes), a->second.number, a->second.bytes);
    return true;
}

int device_of(const void *pointer)
{
    auto a = find(pointer);
    return a == allocations.end() ? -1 : a->second.device;
}

void device_memory(size_t *ret_free, size_t *ret_total)
{
    *ret_free = total() - used[device()];
    *ret_total = total();
}

static void close_all()
{
    for (char *first : opened)
        set_open(*allocations.find(first), false);
    opened.clear();
}

int work_for(int device)
{
    int before = std::exchange(working, device);
    if (before != device && OPENS_WHAT_IS_TOUCHED)
        close_all();
    return before;
}

device_open::device_open()
{
    if (!open_depth++ && !OPENS_WHAT_IS_TOUCHED)
        for (auto &a : allocations) {
            set_open(a, true);
            opened.push_back(a.first);
        }
}

device_open::~device_open()
{
    if (--open_depth)
        return;
    close_all();
}

} // namespace gpu_sim
