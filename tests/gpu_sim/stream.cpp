/* stream.cpp - queues of work that run only when somebody waits for them.
 *
 * So a program that forgets to wait sees what was never computed, each time. Order between streams is by events alone.
 * With GPU_SIM_ORDER=fwd or rev a stream that is waited for brings along only what it, in turn, waits for; with greedy
 * all others run first, as far as they come; with random some do. */
#include "tests/gpu_sim/count.h"
#include "tests/gpu_sim/sim.h"

#include <algorithm>
#include <deque>
#include <set>
#include <stdio.h>
#include <stdlib.h>

namespace gpu_sim
{

struct graph {
    int device;
    std::vector<work> nodes;
};

struct stream {
    int device;
    std::deque<work> queue;
    uint64_t issued, done;
    uint64_t spent; /* pieces of work ever issued, a graph's one by one: what passes for time */
    std::unique_ptr<graph> captured;
    bool whole_thread; /* the thread that captures may not do what would wait or allocate */
};

struct event {
    int device;
    stream *on;
    uint64_t after; /* that much of the stream */
    uint64_t spent; /* of it */
    bool has_time;
};

namespace
{

std::vector<stream *> streams;
std::set<std::pair<int, const void *>> functions; /* that are loaded, on a device */
std::set<std::pair<int, std::string>> products;   /* whose kernels are */
thread_local int own_device;
thread_local unsigned thread_captured;
long fail_at, calls, living;
bool sticky;
const char *failed, *fail_only;

bool eager()
{
    static const bool value = setting("GPU_SIM_EAGER", 0) != 0;
    return value;
}

bool lives(const stream *s)
{
    return std::find(streams.begin(), streams.end(), s) != streams.end();
}

/* Whether another stream runs before the one that is waited for. */
bool goes_first()
{
    static const char *order = getenv("GPU_SIM_ORDER");
    static uint32_t noise = uint32_t(setting("GPU_SIM_SEED", 1));
    noise = noise * 1664525u + 1013904223u;
    return order && (!strcmp(order, "greedy") || (!strcmp(order, "random") && noise >> 31));
}

void run_until(stream *s, uint64_t upto)
{
    static unsigned depth;
    if (!lives(s))
        return; /* freed, which waits */
    device_open open;
    for (size_t i = 0; i < streams.size() && !depth; i++)
        if (streams[i] != s && !streams[i]->captured && goes_first()) {
            depth++;
            run_until(streams[i], streams[i]->issued);
            depth--;
        }
    depth++;
    while (s->done < upto && !s->queue.empty()) {
        work next = std::move(s->queue.front());
        s->queue.pop_front();
        s->done++;
        int before = work_for(s->device);
        next();
        work_for(before);
    }
    depth--;
}

void check_not_captured(const stream *s, const char *what)
{
    if (s->captured)
        fail("%s on a stream that is being captured", what);
}

} // namespace

std::recursive_mutex &lock()
{
    static std::recursive_mutex mutex;
    return mutex;
}

long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtol(text, nullptr, 10) : otherwise;
}

int device()
{
    return own_device;
}

void set_device(int number)
{
    own_device = number;
}

/* GPU_SIM_LOST names a file: once it is there, the thread's device is gone, unless it says another one's number. */
static bool is_lost()
{
    static const char *const path = getenv("GPU_SIM_LOST");
    FILE *file = path ? fopen(path, "r") : nullptr;
    if (!file)
        return false;
    int which = own_device;
    bool says = fscanf(file, "%d", &which) == 1;
    fclose(file);
    return !says || which == own_device;
}

bool must_fail(const char *function)
{
    static const bool read = (fail_at = setting("GPU_SIM_FAIL_AT", 0), sticky = setting("GPU_SIM_STICKY", 0) != 0,
                              true);
    (void)read;
    if (fail_only && strcmp(fail_only, function))
        return is_lost();
    calls++;
    bool fails = (fail_at > 0 && (calls == fail_at || (sticky && calls > fail_at))) || is_lost();
    if (fails)
        failed = function;
    return fails;
}

void alive(int change)
{
    living += change;
}

stream *stream_new()
{
    stream *s = new stream();
    s->device = own_device;
    streams.push_back(s);
    return s;
}

void stream_free(stream *s)
{
    if (!lives(s))
        fail("a stream is destroyed that is none");
    check_not_captured(s, "cudaStreamDestroy");
    run_until(s, s->issued);
    streams.erase(std::find(streams.begin(), streams.end(), s));
    delete s;
}

void enqueue(stream *s, work what)
{
    if (!lives(s))
        fail("work for a stream that is none");
    if (s->captured) {
        s->captured->nodes.push_back(std::move(what));
        return;
    }
    s->queue.push_back(std::move(what));
    s->issued++;
    s->spent++;
    if (eager())
        run_until(s, s->issued);
}

void wait_stream(stream *s)
{
    if (!lives(s))
        fail("a wait for a stream that is none");
    check_not_captured(s, "a wait");
    run_until(s, s->issued);
}

void wait_all()
{
    for (size_t i = 0; i < streams.size(); i++)
        if (!streams[i]->captured)
            run_until(streams[i], streams[i]->issued);
}

void drop(stream *s)
{
    s->done = s->issued;
    s->queue.clear();
}

bool idle(stream *s)
{
    return s->queue.empty();
}

bool captures(const stream *s)
{
    return s->captured != nullptr;
}

int device_of(const stream *s)
{
    return s->device;
}

int device_of(const event *e)
{
    return e->device;
}

int device_of(const graph *g)
{
    return g->device;
}

void load(const void *function)
{
    functions.insert({own_device, function});
}

void first_use(const stream *s, const void *function, const char *name)
{
    if (functions.insert({s->device, function}).second && captures(s))
        fail("%s is loaded in a capture", name);
}

void first_use(const stream *s, const std::string &product)
{
    if (products.insert({s->device, product}).second && captures(s))
        fail("a product of %s is loaded in a capture", product.c_str());
}

bool thread_captures()
{
    return thread_captured > 0;
}

void capture_begin(stream *s, bool whole_thread)
{
    check_not_captured(s, "cudaStreamBeginCapture");
    s->captured.reset(new graph());
    s->captured->device = s->device;
    s->whole_thread = whole_thread;
    thread_captured += whole_thread;
}

graph *capture_end(stream *s)
{
    if (s->captured)
        thread_captured -= s->whole_thread;
    return s->captured.release();
}

void enqueue_graph(stream *s, const graph *g)
{
    std::vector<work> nodes = g->nodes;
    s->spent += nodes.size();
    enqueue(s, [nodes] {
        for (const work &node : nodes)
            node();
    });
}

graph *graph_copy(const graph *g)
{
    return new graph(*g);
}

void graph_free(graph *g)
{
    delete g;
}

event *event_new(bool has_time)
{
    event *e = new event();
    e->device = own_device;
    e->has_time = has_time;
    return e;
}

void event_free(event *e)
{
    delete e;
}

void event_record(event *e, stream *s)
{
    check_not_captured(s, "cudaEventRecord");
    e->on = s;
    e->after = s->issued;
    e->spent = s->spent;
}

bool event_done(event *e)
{
    return !e->on || !lives(e->on) || e->on->done >= e->after;
}

void event_wait(event *e)
{
    if (e->on)
        run_until(e->on, e->after);
}

bool event_spent(const event *from, const event *to, uint64_t *ret_spent)
{
    *ret_spent = to->spent - from->spent;
    return from->has_time && to->has_time && from->on != nullptr && from->on == to->on;
}

void stream_wait(stream *s, event *e)
{
    stream *other = e->on;
    uint64_t after = e->after;
    check_not_captured(s, "cudaStreamWaitEvent");
    if (other)
        enqueue(s, [other, after] { run_until(other, after); });
}

} // namespace gpu_sim

void gpu_sim_enqueue(void *stream, void (*run)(const void *what), const void *what, size_t bytes)
{
    std::lock_guard<std::recursive_mutex> hold(gpu_sim::lock());
    const char *from = static_cast<const char *>(what);
    std::vector<char> own(from, from + bytes);
    gpu_sim::enqueue(static_cast<gpu_sim::stream *>(stream), [own, run] {
        run(own.data());
        if (gpu_sim::counts)
            gpu_sim::count_copy("work of another library", 0);
    });
}

void gpu_sim_fail_at(long n, int and_after)
{
    std::lock_guard<std::recursive_mutex> hold(gpu_sim::lock());
    gpu_sim::must_fail(""); /* the environment has been read */
    gpu_sim::failed = nullptr;
    gpu_sim::calls = 0;
    gpu_sim::fail_at = n;
    gpu_sim::sticky = and_after != 0;
}

void gpu_sim_fail_only(const char *function)
{
    std::lock_guard<std::recursive_mutex> hold(gpu_sim::lock());
    gpu_sim::fail_only = function;
}

long gpu_sim_calls(void)
{
    std::lock_guard<std::recursive_mutex> hold(gpu_sim::lock());
    return gpu_sim::calls;
}

long gpu_sim_alive(void)
{
    std::lock_guard<std::recursive_mutex> hold(gpu_sim::lock());
    return gpu_sim::living;
}

const char *gpu_sim_failed(void)
{
    std::lock_guard<std::recursive_mutex> hold(gpu_sim::lock());
    return gpu_sim::failed;
}
