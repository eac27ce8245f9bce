/* profile.cu - launches between events, and what they come to.
 *
 * Before each one everything waits, and a kernel of one thread holds the stream until the launch and its events are
 * behind it: else the time that the host takes to launch would be measured. */
#include <stdio.h>

#include <algorithm>
#include <new>

#include "core/cuda/profile_internal.h"

#define DELAY_STEPS 100000u /* some 200 us, longer than cuDNN's call takes */

struct gpu_profile {
    struct launch {
        gpu_work work;
        cudaEvent_t before, behind;
        std::vector<float> ms; /* of each run that counts */
    };
    std::vector<launch> launches;
    size_t at;   /* the next one of this run */
    size_t runs; /* that are done */
};

/* Sums that wait for each other; `never` is not written. */
KERNEL void delay_k(uint32_t steps, float *never)
{
    float x = 1.0f;
    for (uint32_t i = 0; i < steps; i++)
        x = fmaf(x, 0.5f, 1.0f);
    if (x < 0.0f)
        *never = x;
}

enum ebm_launch_kind gpu_product_kind(bool is_exact)
{
    static const enum ebm_launch_kind kinds[] = {EBM_LAUNCH_FP32, EBM_LAUNCH_TF32, EBM_LAUNCH_BF16};
    return kinds[is_exact ? EBM_GPU_FP32 : gpu_precision()];
}

namespace
{

void delay(ebm_gpu_space *space, cudaStream_t stream, uint32_t steps)
{
    LAUNCH(delay_k, dim3(1), dim3(1), 0, stream, steps, static_cast<float *>(space->workspace));
}

bool wait_for_all(ebm_gpu_space *space)
{
    bool ok = true;
    for (cudaStream_t stream : {space->up, space->compute, space->down})
        ok = ok && gpu_fine(space, cudaStreamSynchronize(stream), "a profile");
    return ok;
}

/* The next launch of this run; made in the first one. NULL: it failed. */
gpu_profile::launch *next_launch(ebm_gpu_space *space, const gpu_work &work)
{
    gpu_profile *profile = space->profile;
    if (!space->failed && profile->at < profile->launches.size())
        return &profile->launches[profile->at];
    if (profile->runs > 0)
        (void)gpu_fail(space, "a profile", "a run launches what the first one did not");
    if (space->failed)
        return NULL;
    try {
        profile->launches.push_back({work, NULL, NULL, {}});
    } catch (const std::bad_alloc &) {
        (void)gpu_fail(space, "a profile", "no memory");
        return NULL;
    }
    gpu_profile::launch *launch = &profile->launches.back();
    return gpu_fine(space, cudaEventCreate(&launch->before), "an event") &&
                   gpu_fine(space, cudaEventCreate(&launch->behind), "an event")
               ? launch
               : NULL;
}

} // namespace

void gpu_launch_begins(ebm_gpu_space *space, cudaStream_t stream, const gpu_work &work)
{
    const gpu_profile::launch *launch = next_launch(space, work);
    if (launch == NULL || !wait_for_all(space))
        return;
    delay(space, stream, DELAY_STEPS);
    if (gpu_fine(space, cudaGetLastError(), "a profile"))
        (void)gpu_fine(space, cudaEventRecord(launch->before, stream), "an event");
}

void gpu_launch_ends(ebm_gpu_space *space, cudaStream_t stream)
{
    gpu_profile *profile = space->profile;
    if (!space->failed)
        (void)gpu_fine(space, cudaEventRecord(profile->launches[profile->at++].behind, stream), "an event");
}

/* ---- runs ---- */

namespace
{

/* What measuring adds: a launch of nothing. */
void time_nothing(ebm_gpu_space *space)
{
    const gpu_timed timed(space, space->compute, [] { return gpu_work{"nothing", EBM_LAUNCH_FP32, 0.0, 0.0}; });
    delay(space, space->compute, 0);
}

bool take_time(ebm_gpu_space *space, gpu_profile::launch *launch)
{
    float ms = 0.0f;
    if (!gpu_fine(space, cudaEventElapsedTime(&ms, launch->before, launch->behind), "an event"))
        return false;
    try {
        launch->ms.push_back(ms);
    } catch (const std::bad_alloc &) {
        return gpu_fail(space, "a profile", "no memory");
    }
    return true;
}

} // namespace

bool ebm_gpu_profile_begin(struct ebm_gpu_space *space)
{
    if (space->failed || !gpu_enter(space))
        return false;
    space->profile = new (std::nothrow) gpu_profile();
    return space->profile != NULL || gpu_fail(space, "a profile", "no memory");
}

bool ebm_gpu_profile_run(struct ebm_gpu_space *space)
{
    space->profile->at = 0;
    time_nothing(space);
    return gpu_fine(space, cudaGetLastError(), "a profile") && !space->failed;
}

bool ebm_gpu_profile_ran(struct ebm_gpu_space *space, bool counts)
{
    gpu_profile *profile = space->profile;
    if (space->failed || !wait_for_all(space))
        return false;
    if (profile->at < profile->launches.size())
        return gpu_fail(space, "a profile", "a run does not launch what the first one did");
    for (gpu_profile::launch &launch : profile->launches)
        if (counts && !take_time(space, &launch))
            return false;
    profile->runs++;
    return true;
}

/* ---- what they come to ---- */

namespace
{

void put_name(char to[EBM_LAUNCH_NAME_BYTES], const gpu_work &work)
{
    if (work.shape[0] == 0)
        (void)snprintf(to, EBM_LAUNCH_NAME_BYTES, "%s", work.name);
    else
        (void)snprintf(to, EBM_LAUNCH_NAME_BYTES, "%s %u x %u of %u", work.name, work.shape[0], work.shape[1],
                       work.shape[2]);
}

/* The place of a name among n, maybe behind them. */
uint32_t find(const struct ebm_launch_times *times, uint32_t n, const char *name)
{
    uint32_t i = 0;
    while (i < n && strcmp(times[i].name, name) != 0)
        i++;
    return i;
}

double median(std::vector<float> *ms)
{
    std::sort(ms->begin(), ms->end());
    return ms->empty() ? 0.0 : (double)(*ms)[ms->size() / 2] * 1e-3;
}

enum ebm_status sum_up(gpu_profile *profile, struct ebm_launch_times *to, uint32_t room, uint32_t *ret_n)
{
    uint32_t n = 0;
    for (gpu_profile::launch &launch : profile->launches) {
        struct ebm_launch_times one = {};
        put_name(one.name, launch.work);
        uint32_t at = find(to, n, one.name);
        if (at == room)
            return EBM_TOO_LARGE;
        if (at == n) {
            to[n++] = one;
            to[at].kind = launch.work.kind;
        }
        to[at].launches++;
        to[at].flop += launch.work.flop;
        to[at].bytes += launch.work.bytes;
        to[at].seconds += median(&launch.ms);
    }
    *ret_n = n;
    return EBM_OK;
}

} // namespace

enum ebm_status ebm_gpu_profile_end(struct ebm_gpu_space *space, struct ebm_launch_times *ret_times, uint32_t room,
                                    uint32_t *ret_n)
{
    gpu_profile *profile = space->profile;
    enum ebm_status status = EBM_DEVICE;
    space->profile = NULL;
    if (profile != NULL && !space->failed)
        status = sum_up(profile, ret_times, room, ret_n);
    for (size_t i = 0; profile != NULL && i < profile->launches.size(); i++)
        for (cudaEvent_t event : {profile->launches[i].before, profile->launches[i].behind})
            if (event != NULL)
                (void)cudaEventDestroy(event);
    delete profile;
    return status;
}

static const gpu_kernels loaded = {GPU_KERNEL(delay_k)};
